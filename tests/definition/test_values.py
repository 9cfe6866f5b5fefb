"""Durations, inputs, schemas, JSON guards, canonical bytes, family configs, the exported schema."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.definition import yaml_source
from flows.definition.canonical import canonical_bytes, digest
from flows.definition.durations import parse_duration
from flows.definition.inputs import JsonError, check_json, schema_problems, validate_input, with_defaults
from flows.definition.schema import completions, json_schema
from flows.steps.configs import CONFIGS, ConfigError, parse_config

DEMO = (Path(__file__).parent / "golden/release_approval.yaml").read_text()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("10m", 600),
        ("1h30m", 5400),
        ("8h", 28800),
        ("2d", 172800),
        ("250ms", 0.25),
        ("1.5s", 1.5),
        (5, 5),
        (0.5, 0.5),
        ("5400s", 5400),
    ],
)
def test_a_duration_is_seconds(text: object, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "10", "s", "10 m", "-5s", "1y", "1e3s", True, None, [], -1, "999999d", float("nan"), 10**400, "٣s"]
)
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


SCHEMA = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "pattern": "^(a+)+$"},
        "n": {"type": "integer", "default": 3},
        "opts": {"type": "object", "default": {}, "properties": {"deep": {"default": [1]}}},
    },
}


def test_input_is_checked_with_paths_and_sentences() -> None:
    assert validate_input(SCHEMA, {"name": "aa"}) == []
    assert validate_input(SCHEMA, {"name": "aa", "n": "x"}) == [
        {"path": ["n"], "message": '"x" is not of type "integer"'}
    ]
    (missing,) = validate_input(SCHEMA, {})
    assert missing["path"] == []
    assert "name" in missing["message"]


def test_a_greedy_pattern_does_not_hang() -> None:
    assert len(validate_input(SCHEMA, {"name": "a" * 50_000 + "!"})) == 1


def test_defaults_are_filled_in_and_never_shared() -> None:
    value = {"name": "a"}
    full = with_defaults(SCHEMA, value)
    assert full == {"name": "a", "n": 3, "opts": {"deep": [1]}}
    assert value == {"name": "a"}
    full["opts"]["deep"].append(2)
    assert with_defaults(SCHEMA, value)["opts"] == {"deep": [1]}
    assert with_defaults(SCHEMA, None) == {"n": 3, "opts": {"deep": [1]}}


def test_input_too_deep_or_too_large_is_refused() -> None:
    deep: Any = 1
    for _ in range(70):
        deep = [deep]
    for value in (deep, "x" * 2_000_000, {"a": float("inf")}, {"a": "\0"}):
        with pytest.raises(JsonError):
            validate_input({}, value)
    assert check_json({"a": [1, "b"]}) > 0


def test_no_schema_reaches_the_network() -> None:
    hits: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hits.append(self.path)
            self.send_error(404)

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        address = f"http://127.0.0.1:{server.server_address[1]}/x"
        for schema in (
            {"$ref": address},
            {"$id": address, "$ref": "y"},
            {"$schema": address},
            {"$id": address, "$ref": "#/$defs/q"},
        ):
            schema_problems(schema)
            with contextlib.suppress(ValueError):
                validate_input(schema, {})
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert hits == []


@pytest.mark.parametrize(
    "schema", [{"$ref": "#"}, {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}]
)
def test_a_schema_that_means_itself_ends(schema: dict[str, Any]) -> None:
    assert schema_problems(schema) == []
    assert validate_input(schema, {"a": 1}) == []


def test_canonical_bytes_follow_rfc_8785() -> None:
    value = {"b": 1.0, "a": [True, None, "é\n"], "€": 1e21, "big": 2**53, "edge": 2**53 - 1, "neg": -(2**60)}
    expected = (
        '{"a":[true,null,"é\\n"],"b":1,"big":"9007199254740992",'
        '"edge":9007199254740991,"neg":"-1152921504606846976","€":1e+21}'
    )
    assert canonical_bytes(value) == expected.encode()
    assert digest(value) == hashlib.sha256(expected.encode()).hexdigest()


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
@settings(max_examples=150, deadline=None)
def test_the_digest_does_not_depend_on_key_order(value: Any) -> None:
    def backwards(tree: Any) -> Any:
        if isinstance(tree, dict):
            return {k: backwards(tree[k]) for k in reversed(list(tree))}
        return [backwards(v) for v in tree] if isinstance(tree, list) else tree

    try:
        expected = digest(value)
    except JsonError:
        return
    assert digest(backwards(value)) == expected


@pytest.mark.parametrize(
    ("family", "config", "path"),
    [
        ("http", {"url": "x", "connection": "y"}, ()),
        ("http", {"path": "x"}, ()),
        ("http", {"url": "x", "method": "get"}, ("method",)),
        ("http", {"url": "x", "method": "${{ input.m }}"}, ("method",)),
        ("http", {"url": "x", "json": 1, "body": "x"}, ()),
        ("http", {"url": "x", "headers": {"a": "b\r\nc: d"}}, ("headers",)),
        ("http", {"url": "x", "headers": {"Idempotency-Key": "1"}}, ("headers",)),
        ("http", {"url": "x", "ok": ["9xx"]}, ("ok", 0)),
        ("http", {"url": "x", "max_bytes": "5GiB"}, ("max_bytes",)),
        ("http", {"url": "x", "max_bytes": "1GiB"}, ()),
        ("http", {"url": "x", "paginate": {"items": "data"}}, ("paginate", "items")),
        ("http", {"url": "x", "method": "POST", "paginate": {"items": "/data"}}, ()),
        ("http", {"url": "x", "body": "a", "form": {}}, ()),
        ("http", {"url": "x", "multipart": {"a": {}}}, ("multipart", "a", "file")),
        ("function", {"code": ""}, ("code",)),
        ("function", {"code": "1", "limits": {"time": "1h"}}, ("limits", "time")),
        ("approval", {"title": "x", "reviewers": {"quorum": 0}}, ("reviewers", "quorum")),
        ("approval", {"title": "x", "reviewers": {"quorum": "2"}}, ("reviewers", "quorum")),
        ("approval", {"title": "x", "on_expiry": "approve"}, ("on_expiry",)),
        ("wait", {}, ()),
        ("wait", {"until": "2026-01-01T00:00:00"}, ()),
        ("wait", {"until": "tomorrow"}, ()),
        ("sleep", "soon", ("duration",)),
        ("kv", {"get": {"key": "a"}, "delete": {"key": "a"}}, ()),
        ("kv", {"get": {"key": "a", "value": 1}}, ("get", "value")),
    ],
)
def test_a_rendered_config_that_breaks_its_schema_says_where(
    family: str, config: Any, path: tuple[str | int, ...]
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(family, config)
    assert caught.value.path == path
    assert caught.value.message


def test_rendered_configs_have_their_values() -> None:
    web: Any = parse_config(
        "http", {"url": "u", "json": None, "ok": [204, "3xx"], "max_bytes": "2MiB", "query": {"a": [1, "b"]}}
    )
    assert web.content == ("json", None)
    assert [web.is_ok(s) for s in (200, 204, 301)] == [False, True, True]
    assert web.max_bytes == 2 * 1024 * 1024
    assert parse_config("sleep", "1h30m").duration == 5400  # type: ignore[attr-defined]
    assert parse_config("wait", {"until": "1970-01-01T01:00:00+01:00"}).until_epoch == 0  # type: ignore[attr-defined]
    kv: Any = parse_config("kv", {"increment": {"key": "k"}})
    assert kv.operation == "increment"
    approval: Any = parse_config("approval", {"title": "commit: ${{ not ours }}"})
    assert (approval.title, approval.expires, approval.reviewers.quorum) == ("commit: ${{ not ours }}", 604800.0, 1)


def test_the_exported_schema_accepts_the_demo_and_refuses_typos() -> None:
    schema = json_schema()
    jsonschema_rs.meta.validate(schema)
    validator = jsonschema_rs.Draft202012Validator(schema)
    demo = yaml_source.parse(DEMO).data
    assert [e.message for e in validator.iter_errors(demo)] == []
    damages: tuple[Callable[[Any], Any], ...] = (
        lambda d: d.update(titel="x"),
        lambda d: d["steps"][0].update(timout="1s"),
        lambda d: d["steps"][1]["http"].update(metod="GET"),
        lambda d: d["steps"][0].pop("function"),
        lambda d: d["triggers"].append({"schedule": {}}),
    )
    for damage in damages:
        broken = json.loads(json.dumps(demo))
        damage(broken)
        assert not validator.is_valid(broken)


def test_every_key_in_the_exported_schema_is_described() -> None:
    schema = json_schema()
    undescribed = [
        f"{where}.{name}"
        for where, part in {"flow": schema, **schema["$defs"]}.items()
        for name, sub in part.get("properties", {}).items()
        if "description" not in sub
        and "$ref" not in sub
        and part.get("additionalProperties") is False
        and where not in ("Trigger", "Fallback")
    ]
    assert undescribed == []
    assert set(completions()["families"]) == set(CONFIGS)
