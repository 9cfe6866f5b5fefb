"""The function family: the author's Python in the sandbox."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from flows.steps.base import Fail, Retry
from flows.steps.function import sandbox
from flows.steps.registry import family
from tests.families.attempt import NOW, attempt, error, output, resolve

LIMITS = sandbox.Limits(time=5.0, memory=64 * 1024 * 1024)


def call(code: str, **known: Any) -> Any:
    given = known.pop("input", {})
    return attempt("function", {"code": code, "input": given}, **known)


@pytest.mark.parametrize(
    ("code", "given", "value"),
    [
        ("a + b", {"a": 1, "b": 2}, 3),
        ("x = {'n': name}\nx", {"name": "é"}, {"n": "é"}),
        ("sorted(input)", {"b": 1, "a": 2}, ["a", "b"]),
        ("input['class']", {"class": 5}, 5),
        ("(1, (2, None))", {}, [1, [2, None]]),
        ("a = 1", {}, None),
        ("len(items)", {"items": list(range(2000))}, 2000),
        ("2**70", {}, 2**70),
        ("import json\njson.loads('[1.5]')", {}, [1.5]),
        ("def f(n):\n    return n * 2\n[f(n) for n in items if n > 1]", {"items": [1, 2, 3]}, [4, 6]),
    ],
)
def test_the_last_expression_is_the_output(code: str, given: dict[str, Any], value: Any) -> None:
    assert output(call(code, input=given)) == value


@pytest.mark.parametrize(
    "code",
    [
        "a = [1]\na.append(a)\na",
        "d = {}\nd['x'] = [{'y': d}]\n{'deep': d}",
        "t = []\nu = (t,)\nt.append(u)\nu",
        "import random\na = [random.random()]\nif a[0] < 2:\n    a.append(a)\na",
    ],
)
def test_a_value_that_contains_itself_is_refused_with_a_sentence(code: str) -> None:
    failed = call(code)
    assert error(failed) == "code" and "contains itself" in failed.stored["message"]


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("'[...]'", "[...]"),
        ("b = ['{...}']\n{'x': b, 'y': [b, b]}", {"x": ["{...}"], "y": [["{...}"], ["{...}"]]}),
        ("def f(__value):\n    return [__value]\nf('(...)')", ["(...)"]),
    ],
)
def test_a_text_that_looks_like_a_loop_is_a_text(code: str, value: Any) -> None:
    assert output(call(code)) == value


@pytest.mark.parametrize(
    ("code", "line", "says"),
    [
        ("x = 1\n1/0", 2, "ZeroDivisionError"),
        ("def f():\n    raise ValueError('no')\n\nf()", 2, "no"),
        ("x = 1\ny = (", 2, "SyntaxError"),
        ("nope", 1, "nope"),
    ],
)
def test_an_error_names_the_line_of_the_authors_code(code: str, line: int, says: str) -> None:
    failed = call(code)
    assert error(failed) == "code"
    assert failed.stored["details"] == {"line": line}
    assert says in failed.stored["message"]


@pytest.mark.parametrize(
    "code",
    [
        "open('/etc/passwd').read()",
        "import os\nos.environ['PATH']",
        "import os\nos.listdir('/')",
        "import pathlib\npathlib.Path('/etc/passwd').read_text()",
        "import socket",
        "import subprocess",
        "import urllib.request",
        "().__class__.__bases__[0].__subclasses__()",
        "eval('__import__(\"os\").getcwd()')",
    ],
)
def test_the_code_reaches_nothing_outside(code: str) -> None:
    assert error(call(code)) == "code"


@pytest.mark.parametrize(
    "code",
    [
        "[0] * 10**9",
        "'x' * 10**10",
        "10**10**8",
        "def f():\n    return f()\nf()",
        "x = []\nwhile True:\n    x.append('y' * 1000)",
        "while True:\n    print('x' * 1000)",
        "x = []\nfor i in range(200):\n    x = [x]\nx",
        "['x' * 1000] * 10000",
    ],
)
def test_a_bomb_is_stopped_and_the_next_call_works(code: str) -> None:
    failed = call(code)
    assert error(failed) == "limit"
    assert isinstance(failed.outcome, Fail)
    assert output(call("1 + 1")) == 2


def test_a_loop_is_stopped_at_the_steps_own_limit() -> None:
    failed = attempt("function", {"code": "while True: pass", "limits": {"time": "200ms"}})
    assert error(failed) == "limit"
    assert "0.2 s" in failed.stored["message"]


def test_too_little_time_left_for_the_attempt_is_worth_a_retry() -> None:
    failed = call("while True: pass", timeout=0.2)
    assert isinstance(failed.outcome, Retry)
    assert failed.outcome.error.cls == "timeout"
    assert failed.outcome.acted is False


@pytest.mark.parametrize(
    "code", ["import time\ntime.sleep(86400)\n'awake'", "import asyncio\nawait asyncio.sleep(86400)\n'awake'"]
)
def test_sleeping_takes_no_time(code: str) -> None:
    assert output(call(code)) == "awake"  # a real sleep fails by the suite's time limit


@pytest.mark.parametrize(
    "code",
    ["import time\ntime.time()", "import datetime\ndatetime.datetime.now(datetime.timezone.utc).timestamp()"],
)
def test_the_clock_is_the_attempts(code: str) -> None:
    assert output(call(code)) == NOW


def test_chance_is_the_same_for_all_attempts_of_a_pass() -> None:
    code = "import random\n[random.random() for _ in range(3)]"
    assert output(call(code, seed=1)) == output(call(code, seed=1))
    assert output(call(code, seed=1)) != output(call(code, seed=2))


def test_nothing_is_left_from_one_call_to_the_next() -> None:
    output(call("secret = 1"))
    assert error(call("secret")) == "code"


def test_prints_are_the_log() -> None:
    assert call("print('one')\nprint('two')").log == ["one", "two"]


@pytest.mark.parametrize(
    "code",
    ["{1, 2}", "b'x'", "float('nan')", "float('inf')", "{1: 2}", "len", "import datetime\ndatetime.date.today()"],
)
def test_what_is_no_json_is_refused_with_advice(code: str) -> None:
    failed = call(code)
    assert error(failed) == "code"
    assert "JSON" in failed.stored["message"]


def test_a_killed_sandbox_process_is_replaced() -> None:
    output(call("1"))
    for pid in _sandboxes():
        os.kill(pid, signal.SIGKILL)
    assert output(call("1")) == 1


def _sandboxes() -> list[int]:
    listed = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(os.getpid())], capture_output=True, text=True)
    return [int(line.split()[0]) for line in listed.stdout.splitlines() if "monty" in line and "subprocess" in line]


def test_what_is_ready_is_used_by_a_call_on_the_same_terms_and_given_back_by_any_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, taken = sandbox._checkout, []

    def checkout(*args: Any) -> Any:
        taken.append(args[1])
        return real(*args)

    monkeypatch.setattr(sandbox, "_checkout", checkout)
    code = "import datetime as dt\ndt.datetime.now(dt.timezone.utc).timestamp()"
    for _ in range(9):  # more than there are processes
        sandbox.get_ready(limits=LIMITS, now=NOW, seed=1)
    assert sandbox.run(code, {}, limits=LIMITS, now=NOW, seed=1)[0] == NOW
    assert len(taken) == 9
    assert sandbox.run(code, {}, limits=LIMITS, now=NOW, seed=1)[0] == NOW  # nothing is ready any more
    sandbox.get_ready(limits=LIMITS, now=NOW, seed=1)
    for _ in range(9):
        assert sandbox.run(code, {}, limits=LIMITS, now=NOW + 5, seed=1)[0] == NOW + 5
    assert len(taken) == 9 + 1 + 1 + 9


def test_a_process_that_was_ready_and_died_is_replaced() -> None:
    sandbox.get_ready(limits=LIMITS, now=NOW, seed=1)
    for pid in _sandboxes():
        os.kill(pid, signal.SIGKILL)
    assert sandbox.run("6 * 7", {}, limits=LIMITS, now=NOW, seed=1)[0] == 42


def test_a_pool_that_was_forked_says_so_instead_of_hanging() -> None:
    output(call("1"))
    pid = os.fork()
    if pid == 0:  # the child may only leave: pytest lives in the parent
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(5)  # a hang is a death, and the parent sees it
        try:
            sandbox.run("1", {}, limits=LIMITS, now=NOW, seed=1)
            os._exit(1)
        except sandbox.SandboxBroken:
            os._exit(0)
        finally:
            os._exit(2)
    assert os.waitpid(pid, 0)[1] == 0


def test_importing_the_families_starts_nothing() -> None:
    code = (
        "import django, subprocess, os, threading; django.setup();"
        "import flows.steps.registry;"
        "children = subprocess.run(['ps', '-o', 'args=', '--ppid', str(os.getpid())], capture_output=True, text=True);"
        "assert 'monty' not in children.stdout, children.stdout;"
        "assert threading.active_count() == 1, threading.enumerate()"
    )
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "orchestra.settings"}
    subprocess.run([sys.executable, "-c", code], check=True, env=env)


LINES = {"type": "object", "required": ["lines"], "properties": {"lines": {"type": "array"}}}


@pytest.mark.parametrize(
    ("config", "cls", "said"),
    [
        ({"input": {"lines": [1, 2]}, "takes": LINES, "gives": {"type": "integer"}}, "", ""),
        ({"input": {"lines": 3}, "takes": LINES}, "input", "The input of the function breaks its schema: lines: "),
        ({"input": {}, "takes": LINES}, "input", "lines"),
        (
            {"input": {"lines": [1]}, "gives": {"type": "string"}},
            "contract",
            "What the function gives breaks its schema: ",
        ),
    ],
)
def test_typed_functions_refuse_what_does_not_fit(config: dict[str, Any], cls: str, said: str) -> None:
    attempted = attempt("function", {"code": "sum(lines)", **config})
    if not cls:
        assert output(attempted) == 3
        return
    assert error(attempted) == cls and said in attempted.stored["message"]


def test_a_function_of_the_flow_says_its_name() -> None:
    action = resolve("function", {"code": "1", "use": "total"})
    assert "the flow's function total" in family("function").describe(action)
