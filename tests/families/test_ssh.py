"""ssh, attached: against a real sshd."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from flows.steps.base import Done, Fail, Retry
from resources import artifacts, kinds, probe
from resources.access import Actor
from resources.connections import resolve
from resources.masking import Masker
from resources.stop import Stop
from runs.streams import Streams
from tests.families.attempt import KEY, Attempt, attempt, error, output
from tests.families.sshd import Sshd

pytestmark = pytest.mark.db_matrix
Json = Any
Box = Callable[..., str]


@pytest.fixture(autouse=True)
def kept_here(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path / "media"


def ran(command: Json, *, connection: str = "box", tail: list[str] | None = None, **known: Any) -> Attempt:
    """One attempt; `config` and whatever StepContext knows by keyword."""
    masker = Masker()
    streams = Streams("01run", "step", "", masker)
    given = {"connection": connection, "command": command, **known.pop("config", {})}
    config = {name: value for name, value in given.items() if value is not None}
    more = {"store": streams.store, "fetch": streams.fetch, "tail": (tail if tail is not None else []).append}
    tried = attempt("ssh", config, mask=masker.add, masked=masker.tree, **{**more, **known})
    tried.stored = masker.tree(tried.stored)
    return tried


def wait_until(holds: Callable[[], Any], seconds: float = 200.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


@contextlib.contextmanager
def meanwhile(do: Callable[[], None]) -> Iterator[None]:
    """`do` in a thread of its own, which must not use the database; raises what it raises."""
    with ThreadPoolExecutor(1) as pool:
        doing = pool.submit(do)
        yield
        doing.result(200)


def test_a_secret_that_the_end_of_an_error_would_cut_is_not_shown_by_halves(box: Box, server: Sshd) -> None:
    box()
    line = max(server.private_key.splitlines(), key=len)
    said = f"{line}{'x' * (2000 - len(line) // 2)}"
    failed = ran(["sh", "-c", 'printf %s "$0" >&2; exit 3', said])
    assert (failed.stored["class"], line[-20:] in str(failed.stored)) == ("exit", False)


HOSTILE = [
    "a b", "it's", 'say "x"', "$(touch pwned)", "`id`", "a\nb", "", "*", "~", "-n", "ünïcødé ☃", "\\", "!!", ";", "%s",
    "a\\nb", "#x", "${HOME}", "&&", "\t",
]  # fmt: skip


def test_every_argument_arrives_as_it_is(box: Box) -> None:
    box()
    script = "import sys, json; print(json.dumps(sys.argv[1:]))"
    found = output(ran(["python3", "-c", script, *HOSTILE], config={"stdout": "json"}))
    assert found["stdout"] == HOSTILE
    assert (found["exit_code"], found["signal"], found["stderr"]) == (0, None, "")


def test_a_text_is_for_the_shell_only_where_that_is_asked_for(box: Box) -> None:
    box()
    assert output(ran("echo $((1+1)) | tr 2 3", config={"shell": True}))["stdout"] == "3\n"


def test_it_is_told_the_key_the_run_and_its_own_environment(box: Box) -> None:
    box()
    env = {"GREETING": "it's $HOME\nand more", "EMPTY": ""}
    said = output(ran(["env", "-0"], config={"env": env, "callback": "done"}))["stdout"]
    found = dict(line.split("=", 1) for line in said.split("�") if line)
    assert found["GREETING"] == env["GREETING"] and found["EMPTY"] == ""
    assert found["ORCHESTRA_IDEMPOTENCY_KEY"] == KEY and found["ORCHESTRA_RUN"] == "01run"
    assert found["ORCHESTRA_STEP"] == "step"
    assert found["ORCHESTRA_CALLBACK_URL"] == "https://orchestra.test/callbacks/done"


def test_stdin_is_a_text_or_a_resource(box: Box) -> None:
    box()
    assert output(ran(["cat"], config={"stdin": "ü\n'$x"}))["stdout"] == "ü\n'$x"
    data = os.urandom(300_000)
    kept = artifacts.ref(artifacts.store(data, content_type="application/octet-stream"))
    found = output(ran(["sha256sum"], config={"stdin": kept["$res"]}))["stdout"]
    assert found.split()[0] == hashlib.sha256(data).hexdigest()
    assert output(ran(["true"], config={"stdin": kept}))["exit_code"] == 0  # nobody reads it: no error


def test_outputs_are_texts_lines_json_and_resources(box: Box) -> None:
    box()
    both = ["sh", "-c", "printf 'a\\nb\\n'; printf '[1]' >&2"]
    assert output(ran(both, config={"stdout": "lines", "stderr": "json"}))["stdout"] == ["a", "b"]
    assert output(ran(both, config={"stderr": "json"}))["stderr"] == [1]
    kept = output(ran(both, config={"stdout": "resource"}))["stdout"]
    assert artifacts.read(artifacts.get(kept["$res"])) == b"a\nb\n"
    assert error(ran(both, config={"stdout": "json"})) == "input"


def test_an_output_above_its_bound_becomes_a_resource_and_keeps_both_ends(box: Box) -> None:
    box()
    script = "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done"
    kept = output(ran(["sh", "-c", script], config={"max_bytes": 10_000}))["stdout"]
    assert kept["head"].startswith("line 0\n") and kept["tail"].endswith("line 2999\n") and kept["size"] > 10_000


def test_fifty_megabytes_go_to_a_resource_in_little_memory(box: Box) -> None:
    box()
    import tracemalloc

    ran(["true"])  # what is imported once is not counted
    tracemalloc.start()
    kept = output(ran(["head", "-c", str(50 * 1024**2), "/dev/zero"], config={"stdout": "resource"}))["stdout"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert kept["size"] == 50 * 1024**2
    assert kept["sha256"] == hashlib.sha256(bytes(50 * 1024**2)).hexdigest()
    assert peak < 35 * 1024**2  # the channel's window, and what a slow disk lets wait


def test_an_output_larger_than_any_resource_ends_the_command(box: Box, settings: Any) -> None:
    box()
    settings.MAX_RESOURCE_BYTES = 1024 * 1024
    tried = ran(["yes"])
    assert error(tried) == "limit" and "Its process group was ended." in tried.stored["message"]


def test_what_it_says_is_shown_as_it_comes(box: Box, tmp_path: Path) -> None:
    box()
    tail: list[str] = []
    go = tmp_path / "go"
    script = f"echo first; while [ ! -e '{go}' ]; do sleep 0.05; done; echo last"

    def once_seen() -> None:
        wait_until(lambda: "".join(tail) == "first\n")
        go.touch()

    with meanwhile(once_seen):
        assert isinstance(ran(["sh", "-c", script], tail=tail).outcome, Done)
    assert "".join(tail) == "first\nlast\n"


def test_invalid_text_is_kept_as_what_can_be_shown(box: Box) -> None:
    box()
    tail: list[str] = []
    assert output(ran(["printf", "a\\377\\000b"], tail=tail))["stdout"] == "a��b"
    assert "".join(tail).startswith("a�")


def test_what_login_scripts_say_is_not_the_commands(box: Box, server: Sshd) -> None:
    box()
    rc = server.home / ".ssh" / "rc"
    rc.parent.mkdir(exist_ok=True)
    rc.write_text("echo Welcome to the box\n")
    try:
        assert output(ran(["echo", "mine"]))["stdout"] == "mine\n"
    finally:
        rc.unlink()


# -- ends -----------------------------------------------------------------------------------------------------------
def test_another_exit_code_fails_and_says_the_last_line(box: Box) -> None:
    box()
    tried = ran(["sh", "-c", "echo out; echo no such version >&2; exit 3"])
    assert isinstance(tried.outcome, Fail) and error(tried) == "exit"
    assert tried.stored["message"] == "The command ended with 3: no such version"
    assert tried.stored["details"]["exit_code"] == 3 and tried.stored["details"]["stdout"] == "out\n"
    assert output(ran(["sh", "-c", "exit 3"], config={"ok": [0, 3]}))["exit_code"] == 3


def test_a_program_that_is_not_there_and_a_signal_are_said(box: Box) -> None:
    box()
    assert ran(["no-such-program"]).stored["details"]["exit_code"] == 127
    killed = ran(["sh", "-c", "kill -KILL $$"])
    assert error(killed) == "exit" and killed.stored["details"]["signal"] == "KILL"


def groups(marker: str) -> list[int]:
    """Process ids whose command line holds the marker."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdecimal() and marker.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return [pid for pid in found if pid != os.getpid()]


STAYS = "trap '' TERM; (trap '' TERM; sleep 300.{0}) & echo up; sleep 300.{0}"


def test_the_end_of_its_time_ends_the_remote_process_group(box: Box) -> None:
    box()
    tried = ran(["sh", "-c", STAYS.format("71")], timeout=3.0)
    assert isinstance(tried.outcome, Retry) and error(tried) == "timeout" and tried.outcome.acted
    assert "Its process group was ended." in tried.stored["message"]
    wait_until(lambda: groups("sleep 300.71".replace(" ", "\0")) == [])


def test_a_cancel_ends_the_remote_process_group(box: Box) -> None:
    box()
    stop, tail = Stop(), list[str]()

    def once_up() -> None:
        wait_until(lambda: groups("sleep\x00300.72"))
        stop.set("cancelled")

    with meanwhile(once_up):
        tried = ran(["sh", "-c", STAYS.format("72")], tail=tail, cancelled=stop, timeout=250)
    assert isinstance(tried.outcome, Retry) and error(tried) == "cancelled"
    wait_until(lambda: groups("sleep\x00300.72") == [])


def test_a_connection_that_is_cut_in_the_middle_leaves_it_unknown(box: Box, server: Sshd) -> None:
    box()
    tail: list[str] = []
    before = set(server.sessions())

    def cut() -> None:
        wait_until(lambda: tail)
        for pid in set(server.sessions()) - before:
            os.kill(pid, signal.SIGKILL)

    with meanwhile(cut):
        tried = ran(["sh", "-c", "echo up; sleep 30"], tail=tail, timeout=60)
    assert isinstance(tried.outcome, Retry) and error(tried) == "network" and tried.outcome.acted


# -- who is there ----------------------------------------------------------------------------------------------------
def other_key(server: Sshd) -> str:
    return " ".join((server.folder / "other.pub").read_text().split()[:2])


def test_a_fingerprint_or_a_bare_key_is_enough_to_know_the_server(box: Box, server: Sshd) -> None:
    box("print", known_hosts=server.fingerprint)
    box("bare", known_hosts=f"# ours\n{server.host_key} root@box")
    assert all(output(ran(["true"], connection=name))["exit_code"] == 0 for name in ("print", "bare"))


def test_an_unknown_host_key_is_refused_and_the_line_to_check_is_said(box: Box, server: Sshd) -> None:
    box(known_hosts="")
    box("elsewhere", known_hosts=f"example.com {server.host_key}")
    for name in ("box", "elsewhere"):
        tried = ran(["true"], connection=name)
        assert isinstance(tried.outcome, Fail) and error(tried) == "refused"
        assert "is not known" in tried.stored["message"] and server.known_hosts in tried.stored["message"]
    told = probe.test_connection(actor=Actor.system("tests"), name="box")
    assert not told.ok and server.fingerprint in told.message and server.known_hosts in told.message


def test_a_changed_host_key_is_refused_with_both_fingerprints(box: Box, server: Sshd) -> None:
    box(known_hosts=f"[127.0.0.1]:{server.port} {other_key(server)}")
    tried = ran(["touch", "pwned"])
    assert error(tried) == "refused" and "has changed" in tried.stored["message"]
    assert (
        server.fingerprint in tried.stored["message"] and tried.stored["details"]["known"][0] in tried.stored["message"]
    )
    assert not (server.home / "pwned").exists()


def test_a_revoked_host_key_is_refused(box: Box, server: Sshd) -> None:
    box(known_hosts=f"{server.known_hosts}\n@revoked * {server.host_key}")
    assert "is revoked" in ran(["true"]).stored["message"]


def test_a_key_that_does_not_fit_is_refused_and_never_shown(box: Box, server: Sshd) -> None:
    box(key=server.other_key)
    tried = ran(["true"])
    assert isinstance(tried.outcome, Fail) and error(tried) == "refused" and "does not let" in tried.stored["message"]
    told = probe.test_connection(actor=Actor.system("tests"), name="box")
    assert not told.ok and "does not let" in told.message


def test_a_secret_that_is_no_key_is_said_without_showing_it(box: Box) -> None:
    box(key="hunter2 is no key")
    tried = ran(["true"])
    assert error(tried) == "refused" and "holds no private key" in tried.stored["message"]
    assert "hunter2" not in str(tried.stored)


def test_a_private_address_is_refused_unless_its_network_is_allowed(box: Box) -> None:
    box(allow_networks=[])
    tried = ran(["true"])
    assert isinstance(tried.outcome, Fail) and error(tried) == "refused" and "loopback" in tried.stored["message"]


def test_the_key_is_masked_wherever_the_command_shows_it(box: Box, server: Sshd) -> None:
    box()
    shown = ran(["sh", "-c", "cat; cat /dev/null >&2"], config={"stdin": server.private_key})
    assert server.private_key.splitlines()[1] not in str(shown.stored) and "•••" in str(shown.stored)
    big = ran(["cat"], config={"stdin": server.private_key, "stdout": "resource"})
    assert server.private_key.splitlines()[1].encode() not in artifacts.read(
        artifacts.get(output(big)["stdout"]["$res"])
    )


def test_a_try_of_the_connection_signs_in_and_runs_nothing(box: Box) -> None:
    box()
    told = probe.test_connection(actor=Actor.system("tests"), name="box")
    assert told.ok and "let" in told.message and "OpenSSH" in told.message
    assert kinds.secrets_of(resolve("box").settings) == {"ssh-key"}
