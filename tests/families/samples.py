"""What the contract suite needs to know of each family: a config for every situation it can be in.

A family without a sample fails the suite.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flows.steps.base import Action

Json = Any


@dataclass(frozen=True)
class Sample:
    """`config` with expressions over `scope`, and `resolved`, a text that must stand in the action then.

    `endless` would never end by itself; `huge` has more output than may be kept; `failing` fails otherwise.
    `invalid` breaks the schema once rendered. `resolve`: what ctx.resolve gives.
    """

    config: Json
    resolved: str
    invalid: Json
    endless: Json = None
    huge: Json = None
    failing: tuple[Json, ...] = ()
    scope: Mapping[str, Json] = field(default_factory=lambda: {"input": {"name": "billing", "count": 3}})
    huge_actions: tuple[Action, ...] = ()


WORLD = {"connection": "world"}
BIG = Action("deploy", None, "function", None, {"code": "1", "input": {"x": "y" * 5_000_000}, "limits": {}})

SHOP = {"connection": "shop"}
_ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"

SAMPLES: Mapping[str, Sample] = {
    "db": Sample(
        config={
            **SHOP,
            "execute": "INSERT INTO orders VALUES (:id, :name, 1)",
            "write": True,
            "idempotent": True,
            "params": {"id": "${{ input.count + 10 }}", "name": "${{ input.name }}"},
        },
        resolved="billing",
        invalid={**SHOP, "execute": "DELETE FROM orders", "write": True, "max_changed": "${{ input.name }}"},
        endless={**SHOP, "query": _ENDLESS},
        huge={**SHOP, "query": "SELECT hex(zeroblob(100000)) AS big"},
        failing=(
            {**SHOP, "query": "SELEKT"},
            {**SHOP, "query": "DELETE FROM orders"},
            {**SHOP, "query": "SELECT * FROM nowhere"},
            {**SHOP, "execute": "INSERT INTO orders VALUES (1, 'x', 1)", "write": True},
            {**SHOP, "execute": "DELETE FROM orders", "write": True, "expect": {"rows": 1}},
            {"connection": "closed-db", "query": "SELECT 1"},
        ),
    ),
    "http": Sample(
        config={**WORLD, "method": "POST", "path": "/${{ input.name }}", "json": {"count": "${{ input.count }}"}},
        resolved="/api/billing",
        invalid={**WORLD, "method": "${{ input.name }}"},
        endless={"connection": "root", "path": "/drip"},
        huge={"connection": "root", "path": "/bytes/2000", "max_bytes": 1000},
        failing=(
            *({"connection": "root", "path": f"/status/{n}"} for n in (301, 400, 404, 408, 429, 500, 503)),
            {"connection": "root", "path": "/drop"},
            {"connection": "closed"},
            {"url": "http://127.0.0.1:9/"},
        ),
    ),
    "function": Sample(
        config={"code": "name.upper() * count", "input": {"name": "${{ input.name }}", "count": "${{ input.count }}"}},
        resolved="billing",
        invalid={"code": "1", "limits": {"time": "${{ input.name }}"}},
        endless={"code": "while True: pass"},
        huge={"code": "['x' * 1000] * 10000"},
        failing=({"code": "1/0"}, {"code": "("}, {"code": "{1, 2}"}, {"code": "x = [0] * 10**9"}),
    ),
    "approval": Sample(
        config={"title": "Release ${{ input.name }}", "protects": ["deploy"], "expires": "8h"},
        resolved="Release billing",
        invalid={"title": "${{ input.count }}"},
        huge={"title": "Release", "protects": ["deploy"]},
        huge_actions=(BIG,),
    ),
    "wait": Sample(
        config={"until": "2026-05-01T09:00:0${{ input.count - 3 }}+02:00"},
        resolved="1777618800",
        invalid={"until": "${{ input.name }}"},
    ),
    "sleep": Sample(
        config={"duration": "${{ string(input.count) + 'h' }}"},
        resolved="10800",
        invalid={"duration": "${{ input.name }}"},
    ),
    "route": Sample(
        config={
            "rules": [{"if": "${{ input.count > 5 }}", "name": "many", "value": "${{ input.name }}"}],
            "default": {"value": "${{ input.name }}"},
        },
        resolved="billing",
        invalid={"rules": "${{ input.name }}", "default": {}},
    ),
    "call": Sample(
        config={"flow": "child", "input": {"n": "${{ input.count }}", "name": "${{ input.name }}"}},
        resolved="billing",
        invalid={"flow": "child", "input": "${{ input.name }}"},
        failing=({"flow": "child", "input": {"n": "many"}},),
    ),
    "llm": Sample(
        config={"connection": "brain", "prompt": "Who is ${{ input.name }}?"},
        resolved="Who is billing?",
        invalid={"connection": "brain", "prompt": "x", "max_tokens": "${{ input.name }}"},
        endless={"connection": "slow-brain", "prompt": "x"},
        failing=({"connection": "closed-brain", "prompt": "x"}, {"connection": "broken-brain", "prompt": "x"}),
    ),
    "job": Sample(
        config={"labels": ["linux"], "input": {"name": "${{ input.name }}"}, "command": ["make", "${{ input.name }}"]},
        resolved="billing",
        invalid={"labels": ["linux"], "max_takeovers": "${{ input.name }}"},
        huge={"labels": ["linux"], "input": "x" * 300_000},
        failing=({"labels": ["linux"], "files": {"a": "res://nothing"}}, {"labels": ["linux"], "files": {"a": 1}}),
    ),
    "kv": Sample(
        config={"increment": {"key": "${{ input.name }}", "value": "${{ input.count }}"}},
        resolved="billing",
        invalid={"increment": {"key": "x", "value": "${{ input.name }}"}},
        huge={"set": {"key": "x", "value": "y" * 100_000}},
        failing=({"get": {"key": "k" * 300}}, {"increment": {"key": "text"}}),
    ),
    "ssh": Sample(
        config={
            "connection": "box",
            "command": ["sh", "-c", "echo $1 $ORCHESTRA_IDEMPOTENCY_KEY", "sh", "${{ input.name }}"],
        },
        resolved="billing",
        invalid={"connection": "box", "command": "${{ input.count }}", "ok": ["${{ input.name }}"]},
        endless={"connection": "box", "command": ["sleep", "300"]},
        huge={"connection": "box", "command": ["yes"], "max_output": "1MiB"},
        failing=(
            {"connection": "box", "command": ["cat", "/no/such/file"]},
            {"connection": "box", "command": ["echo", "x"], "stdout": "json"},
            {"connection": "box", "job": "no-such-job"},
            {"connection": "changed", "command": ["true"]},
            {"connection": "nobody", "command": ["true"]},
            {"connection": "away", "command": ["true"]},
        ),
    ),
    "notify": Sample(
        config={"people": {"users": ["ana"]}, "title": "About ${{ input.name }}", "text": "${{ input.count }} of them"},
        resolved="About billing",
        invalid={"people": {"users": ["ana"]}, "title": "${{ input.count }}"},
        failing=(
            {"people": {"users": ["nobody"]}, "title": "T", "must": True},
            {"connection": "closed-mail", "to": ["ana@example.com"], "title": "T", "must": True},
            {"connection": "closed-chat", "title": "T", "must": True},
        ),
    ),
    "search": Sample(
        config={"query": "${{ input.name }} ledger", "in": ["runs"], "filters": {"flow": "${{ input.name }}"}},
        resolved="billing ledger",
        invalid={"query": "x", "limit": "${{ input.name }}"},
        failing=(
            {"query": "x", "filters": {"label": "odd"}},
            {"query": "x", "filters": {"since": "yesterday"}},
            {"connection": "closed", "query": "x"},
            {"connection": "root", "query": "x"},
        ),
    ),
}
