"""Lint of business time: name, text, rule, severity, line, column."""

from __future__ import annotations

HEAD = "flow: f\ntitle: T\ndefaults: {timeout: 30s}\n"


def steps(text: str, head: str = HEAD) -> str:
    return f"{head}steps:\n{text}"


def poll(until: str, rest: str = "") -> str:
    return steps(f"  - id: a\n    http: {{url: x}}\n{rest}    until: {until}\n")


PAGE = "  - id: page\n    sleep: 1s\n"
CALLS = "  - id: a\n    http: {url: x}\n    on_timeout: {steps: [page]}\n"

TABLE: list[tuple[str, str, str, str, int, int]] = [
    ("a handler with needs", steps(CALLS + PAGE + "    needs: [a]\n"), "handler-step", "error", 10, 12),
    ("a handler that is needed", steps(CALLS + PAGE + "  - id: z\n    needs: [page]\n    sleep: 1s\n"),
     "handler-step", "error", 11, 13),
    ("a handler that has handlers", steps(CALLS + PAGE + "    on_timeout: fail\n"), "handler-step", "error", 10, 17),
    ("names itself", steps("  - id: a\n    http: {url: x}\n    on_timeout: {steps: [a]}\n    when: success\n"),
     "handler-step", "error", 7, 26),
    ("unknown handler", steps("  - id: a\n    http: {url: x}\n    on_timeout: {steps: [b]}\n"),
     "unknown-step", "error", 7, 26),
    ("nothing to miss", steps("  - id: a\n    http: {url: x}\n    on_deadline: fail\n"), "missing-key", "error", 7, 5),
    ("cannot stall", steps("  - id: a\n    sleep: 1s\n    stall_after: 1s\n"), "bad-value", "error", 7, 5),
    ("longer than the deadline", steps("  - id: a\n    http: {url: x}\n    timeout: 9s\n    deadline: 5s\n"),
     "time-order", "warning", 7, 14),
    ("no value for an approval", steps("  - id: a\n    approval: {title: T}\n    on_timeout: {value: 1}\n"),
     "bad-value", "error", 7, 17),
    ("unbounded", poll("'${{ steps.a.output.ok }}'"), "until-unbounded", "warning", 7, 5),
    ("never changes", poll("{condition: '${{ run.id == \"x\" }}', max_rounds: 3}"), "until-step", "error", 7, 24),
    ("a sleep polls", steps("  - id: a\n    sleep: 1s\n    deadline: 1m\n    until: '${{ steps.a.output == 1 }}'\n"),
     "until-step", "error", 8, 5),
    ("ssh stays", steps("  - id: a\n    ssh: {connection: box, command: [make]}\n    timeout: 11m\n"),
     "ssh-long", "warning", 6, 28),
    ("ssh says", steps("  - id: a\n    ssh: {connection: box, command: [make], stdout: resource}\n    timeout: 1m\n"),
     "output-unbounded", "warning", 6, 53),
]  # fmt: skip
