"""The sandbox: the author's Python in a small interpreter of its own process, with no I/O.

The pool starts with the first call, so after the fork of a worker; its processes end with the worker, even when
that is killed. A call cannot see files, sockets or the environment; clock and randomness are given by the caller,
and sleeping returns at once (a real sleep would not count against the time limit).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import importlib.util
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from resources.stop import Stop

if TYPE_CHECKING:
    import pydantic_monty as monty

#: name shown in tracebacks
SCRIPT = "function.py"
#: bytes of printed text kept of one call
MAX_PRINTED = 64 * 1024
MAX_RECURSION = 200
#: the interpreter process is killed when it is this late in obeying its own time limit, seconds
GRACE = 0.5


class SandboxError(Exception):
    """Base of what can go wrong; `line` is a line of the author's code, 1-based, or None."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.line = line


class CodeError(SandboxError):
    """The author's code raised or does not parse."""


class LimitError(SandboxError):
    """The code needed more time, memory, depth or printed text than it may have. `timed_out`: it was time."""

    def __init__(self, message: str, line: int | None = None, *, timed_out: bool = False) -> None:
        super().__init__(message, line)
        self.timed_out = timed_out


class SandboxBroken(SandboxError):
    """The interpreter's process died or never came; not the author's fault."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one call: seconds of computing and bytes of memory."""

    time: float
    memory: int


#: what a call is made under: its limits, its time and its seed
Terms = tuple[Limits, float, int]


class Pool:
    """One pool of interpreter processes per process of ours, started lazily."""

    def __init__(self, start: Callable[[], monty.Monty]) -> None:
        self._start = start
        self._lock = threading.Lock()
        self._pool: monty.Monty | None = None
        self._pid = 0

    def get(self) -> monty.Monty:
        """Raises SandboxBroken in a process forked from one that had used the sandbox: its threads are gone."""
        if self._pool is None:
            with self._lock:
                if self._pool is None:
                    self._pid, self._pool = os.getpid(), self._start().__enter__()
        if self._pid != os.getpid():
            raise SandboxBroken("The sandbox was started before this process was forked; start it afterwards.")
        return self._pool

    def drop(self, broken: monty.Monty) -> None:
        """Forget a pool that no longer answers; the next call starts another."""
        with self._lock:
            if self._pool is broken:
                self._pool = None
        broken.__exit__(None, None, None)


def _start() -> monty.Monty:
    import pydantic_monty as monty

    # the library tries to import it at every run; where it is not installed, remember that (0.2 ms a run)
    if importlib.util.find_spec("opentelemetry") is None:
        for name in ("opentelemetry", "opentelemetry.context"):
            sys.modules.setdefault(name, None)  # type: ignore[arg-type]
    return monty.Monty(
        min_processes=1,
        max_processes=4,
        checkout_timeout=10.0,
        max_checkouts_per_worker=10_000,
        feed_duration_limit_grace=GRACE,
    )


_pool = Pool(_start)


def run(
    code: str, names: Mapping[str, Any], *, limits: Limits, now: float, seed: int, stop: Stop | None = None
) -> tuple[Any, str]:
    """Run `code` with `names` as its variables: (value of the last expression or None, printed text).

    `now` is epoch seconds: the only time the code sees. Raises CodeError, LimitError, SandboxBroken.
    A process found dead is replaced and the code run once more: it has no effects, so that is safe. `stop`: when it is
    asked for, the process is killed; raises SandboxBroken.
    """
    import pydantic_monty as monty

    stop, terms = stop or Stop(), (limits, now, seed)
    try:
        return _run(code, names, terms, stop)
    except monty.MontyCrashedError:
        if stop.is_set():
            raise SandboxBroken("The code was stopped.") from None
    try:
        return _run(code, names, terms, stop)
    except monty.MontyCrashedError as e:
        raise SandboxBroken(f"The sandbox process died: {e}") from e


def get_ready(*, limits: Limits, now: float, seed: int) -> None:
    """Have a process wait for the next `run` of this thread, if that comes with the same; another gives it back.

    Raises what comes of trying.
    """
    terms = limits, now, seed
    _give_back()
    _ready.kept = terms, _checkout(_pool.get(), terms).__enter__()


class _Ready(threading.local):
    kept: tuple[Terms, monty.MontySession] | None = None


_ready = _Ready()


def _session(pool: monty.Monty, terms: Terms) -> contextlib.AbstractContextManager[monty.MontySession]:
    """The one that is ready, where it is one for these terms."""
    kept = _ready.kept
    if kept is None or kept[0] != terms:
        _give_back()
        return _checkout(pool, terms)
    return _kept(kept[1])


@contextlib.contextmanager
def _kept(session: monty.MontySession) -> Iterator[monty.MontySession]:
    try:
        yield session
    finally:
        _give_back()


def _give_back() -> None:
    kept, _ready.kept = _ready.kept, None
    if kept is not None:
        with contextlib.suppress(Exception):  # it is not used any more
            kept[1].__exit__(None, None, None)


def _checkout(pool: monty.Monty, terms: Terms) -> monty.MontySession:
    limits, now, seed = terms
    policy: monty.OSPolicy = {
        "datetime": dt.datetime.fromtimestamp(now, dt.UTC),
        "sleep": "zero",
        "random_start": {"seed": seed},
    }
    return pool.checkout(script_name=SCRIPT, limits=_limits(limits), os_policy=policy)


def _run(code: str, names: Mapping[str, Any], terms: Terms, stop: Stop) -> tuple[Any, str]:
    """As `run`, but MontyCrashedError comes out as it is when it was not for time."""
    import pydantic_monty as monty

    pool = _pool.get()
    printed = monty.CollectString(MAX_PRINTED)
    try:
        with _session(pool, terms) as session, stop.on_stop(_killer(session.worker_pid)):
            return session.feed_run(code, inputs=dict(names), print_callback=printed), printed.output
    except monty.MontyRuntimeError as e:
        raise _runtime_error(e, terms[0]) from e
    except monty.MontySyntaxError as e:
        raise CodeError(f"SyntaxError: {e}", _line(e)) from e
    except monty.MontyConversionError as e:
        raise CodeError(f"A value cannot enter or leave the sandbox: {e}") from e
    except monty.MontyCrashedError as e:
        if e.timed_out:
            raise _too_slow(terms[0]) from e
        raise
    except OSError as e:
        _pool.drop(pool)
        raise SandboxBroken(f"No sandbox process could be had: {e}") from e


def _killer(pid: int | None) -> Callable[[], None]:
    """Ends the process of a session; its id is asked for beforehand, since nobody may ask while code runs."""
    return lambda: None if pid is None else os.kill(pid, signal.SIGKILL)


def _limits(limits: Limits) -> monty.ResourceLimits:
    return {
        "max_feed_duration_secs": limits.time,
        "max_memory": limits.memory,
        "max_recursion_depth": MAX_RECURSION,
        "max_suspensions": 100,
        "max_total_sleep_secs": 0.0,
    }


def _runtime_error(error: monty.MontyRuntimeError, limits: Limits) -> SandboxError:
    inner, line = error.exception(), _line(error)
    if isinstance(inner, TimeoutError):
        return _too_slow(limits, line)
    if isinstance(inner, MemoryError) and f"> {MAX_PRINTED} bytes" in str(error):
        return LimitError(f"The code prints more than the {MAX_PRINTED >> 10} KiB it may.", line)
    if isinstance(inner, MemoryError):
        return LimitError(f"The code needs more than the {limits.memory >> 20} MiB of memory it may have.", line)
    if isinstance(inner, RecursionError):
        return LimitError(f"The code calls itself more than {MAX_RECURSION} levels deep.", line)
    return CodeError(str(error), line)


def _too_slow(limits: Limits, line: int | None = None) -> LimitError:
    return LimitError(f"The code ran longer than the {limits.time:g} s it may take.", line, timed_out=True)


def _line(error: monty.MontyRuntimeError | monty.MontySyntaxError) -> int | None:
    frames = error.traceback()
    return frames[-1].line if frames else None
