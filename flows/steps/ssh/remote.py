"""What is sent to the remote shell: every word quoted, nothing joined. Pure; for POSIX shells."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence

#: The first thing our own shell says; whatever was said before it (banners of login scripts) is not the command's.
MARK = "orchestra-began"
JOBS = ".orchestra/jobs"
DAYS_KEPT = 14

#: Says its process id, which is also its process group, then becomes the command. sshd makes a session of its own for
#: each command; where a server does not, setsid does.
_ATTACHED = """m=$1; shift
if kill -0 -$$ 2>/dev/null; then printf '%s %s\\n' "$m" $$; exec "$@"; fi
exec setsid sh -c 'm=$1; shift; printf "%s %s\\n" "$m" $$; exec "$@"' sh "$m" "$@"
"""

#: Ends a process group: asks, and a second later makes.
_KILL = """kill -TERM -"$1" 2>/dev/null || exit 0
n=0; while [ $n -lt 10 ] && kill -0 -"$1" 2>/dev/null; do n=$((n+1)); sleep 0.1 2>/dev/null || { n=10; sleep 1; }; done
kill -KILL -"$1" 2>/dev/null; exit 0
"""

_ALIVE = """mine() {
  [ ! -r /proc/"$1"/stat ] || [ "$(cut -d' ' -f22 /proc/"$1"/stat)" = "$(cat "$d/began" 2>/dev/null)" ]
}
alive() { p=$(cat "$d/pid" 2>/dev/null) && [ -n "$p" ] && kill -0 -"$p" 2>/dev/null && mine "$p"; }
"""

#: $1 job, $2 the wrapper, $3 days. Everything is put there first; that it runs once is the wrapper's own doing.
_START = """u=$(umask); umask 077; b="$HOME/.orchestra/jobs"; d="$b/$1"; mkdir -p "$d" || exit 71
if [ ! -d "$d/lock" ]; then
  cat > "$d/stdin.$$" && mv "$d/stdin.$$" "$d/stdin" || exit 71
  printf '%s' "$2" > "$d/script.$$" && mv "$d/script.$$" "$d/script" || exit 71
  find "$b" -mindepth 2 -maxdepth 2 -name exit -mtime +"$3" 2>/dev/null | while read -r f; do rm -rf "${f%/exit}"; done
  ( cd "$HOME" && exec setsid nohup sh "$d/script" "$d" "$u" ) </dev/null >/dev/null 2>&1 &
fi
n=0; while [ ! -s "$d/pid" ] && [ $n -lt 50 ]; do n=$((n+1)); sleep 0.1 2>/dev/null || sleep 1; done
[ -s "$d/pid" ] || exit 75
printf '%s %s %s\\n' "$0" "$(cat "$d/pid")" "$d"
"""

#: The job's own shell, leader of its process group. mkdir is the lock: a second one ends at once.
_WRAPPER = """d=$1
mkdir "$d/lock" 2>/dev/null || exit 0
trap : TERM INT HUP
cut -d' ' -f22 /proc/$$/stat > "$d/began" 2>/dev/null
: > "$d/stdout"; : > "$d/stderr"
echo $$ > "$d/pid.new" && mv "$d/pid.new" "$d/pid"
( umask "$2"; exec %s ) < "$d/stdin" > "$d/stdout" 2> "$d/stderr"
e=$?
%secho $e > "$d/exit.new" && mv "$d/exit.new" "$d/exit"
"""

#: $1 directory, $2 exit code. In a session of its own, which outlives a cancel. Up to eight tries over some minutes.
#: curl reads the address from a file that only the account reads, so that no list of processes shows it.
_CALL = """d=$1; e=$2; u=%s
printf '{"job":"%%s","exit_code":%%s,"stdout_bytes":%%s,"stderr_bytes":%%s}' %s "$e" \\
  $(($(wc -c < "$d/stdout"))) $(($(wc -c < "$d/stderr"))) > "$d/answer"
printf 'url = "%%s"\\n' "$u" > "$d/callback"
n=0; while [ $n -lt 8 ]; do
  if command -v curl >/dev/null 2>&1; then
    curl -sf -m 30 -o /dev/null -H 'Content-Type: application/json' --data-binary @"$d/answer" -K "$d/callback" && break
  elif command -v wget >/dev/null 2>&1; then
    wget -q -T 30 -O /dev/null --header 'Content-Type: application/json' --post-file "$d/answer" "$u" && break
  else echo 'neither curl nor wget' > "$d/callback.failed"; break; fi
  n=$((n+1)); sleep $((n*4))
done
[ $n -lt 8 ] || echo 'nobody took the answer' > "$d/callback.failed"
"""

#: $1 job, $2 $3 offsets, $4 most bytes of each. One line of facts, then the bytes of stdout, then those of stderr.
_LOOK = """d="$HOME/.orchestra/jobs/$1"; [ -d "$d/lock" ] || exit 72
%s
if [ -s "$d/exit" ]; then s=ended; elif alive; then s=running; elif [ -s "$d/exit" ]; then s=ended; else s=lost; fi
o=$(($(wc -c < "$d/stdout"))); r=$(($(wc -c < "$d/stderr")))
i=$((o-$2)); [ $i -le $4 ] || i=$4; [ $i -gt 0 ] || i=0
j=$((r-$3)); [ $j -le $4 ] || j=$4; [ $j -gt 0 ] || j=0
printf '%%s %%s %%s %%s %%s %%s %%s %%s %%s\\n' "$0" $s "$(cat "$d/exit" 2>/dev/null || echo -)" \\
  "$(cat "$d/pid" 2>/dev/null || echo 0)" $o $r $i $j "$d"
[ $i = 0 ] || tail -c +$(($2+1)) "$d/stdout" | head -c $i
[ $j = 0 ] || tail -c +$(($3+1)) "$d/stderr" | head -c $j
"""

_CANCEL = """d="$HOME/.orchestra/jobs/$1"; [ -d "$d/lock" ] || exit 72
%s
if [ ! -s "$d/exit" ] && alive; then
  kill -TERM -"$p" 2>/dev/null
  n=0; while [ $n -lt 20 ] && [ ! -s "$d/exit" ]; do n=$((n+1)); sleep 0.1 2>/dev/null || { n=20; sleep 1; }; done
  c=; [ -s "$d/exit" ] || c=137
  kill -KILL -"$p" 2>/dev/null
  [ -z "$c" ] || { echo $c > "$d/exit.new" && mv "$d/exit.new" "$d/exit"; }
fi
"""


def attached(words: Sequence[str], env: Mapping[str, str], mark: str) -> str:
    """Runs the command; before its output stdout has the line "`mark` <process group>"."""
    return "exec " + shlex.join([*_env(env), "sh", "-c", _ATTACHED, "sh", mark, *words])


def kill(group: int) -> str:
    return shlex.join(["sh", "-c", _KILL, "sh", str(group)])


def start(job: str, words: Sequence[str], env: Mapping[str, str], callback: str | None, mark: str) -> str:
    """Starts the job unless it was; what its command reads comes by stdin. Says "`mark` <pid> <dir>"."""
    call = ""
    if callback:
        said = _CALL % (shlex.quote(callback), shlex.quote(job))
        call = f'setsid nohup sh -c {shlex.quote(said)} sh "$d" $e </dev/null >/dev/null 2>&1 &\n'
    wrapper = _WRAPPER % (shlex.join([*_env(env), *words]), call)
    return shlex.join(["sh", "-c", _START, mark, job, wrapper, str(DAYS_KEPT)])


def look(job: str, offsets: tuple[int, int], most: int, mark: str) -> str:
    return shlex.join(["sh", "-c", _LOOK % _ALIVE, mark, job, str(offsets[0]), str(offsets[1]), str(most)])


def cancel(job: str) -> str:
    return shlex.join(["sh", "-c", _CANCEL % _ALIVE, "sh", job])


def job_of(key: str) -> str:
    """The name of a job's directory: its idempotency key, in characters that any file system has."""
    return re.sub(r"[^A-Za-z0-9._~-]", ".", key)


def environment(key: str, run: str, step: str, callback: str | None, env: Mapping[str, str]) -> dict[str, str]:
    """What the command is told, besides what the flow says."""
    own = {"ORCHESTRA_IDEMPOTENCY_KEY": key, "ORCHESTRA_RUN": run, "ORCHESTRA_STEP": step}
    return {**env, **own, **({"ORCHESTRA_CALLBACK_URL": callback} if callback else {})}


def shown(words: Sequence[str], most: int = 200) -> str:
    """A command for people: as it would be typed, on one line."""
    text = " ".join(w if w and shlex.quote(w) == w else json.dumps(w, ensure_ascii=False) for w in words)
    return text if len(text) <= most else text[: most - 1] + "…"


def _env(env: Mapping[str, str]) -> list[str]:
    return ["env", *(f"{name}={value}" for name, value in env.items())]
