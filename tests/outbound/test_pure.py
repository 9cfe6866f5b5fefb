"""The pure parts: what leaves, what is signed, when it is tried again."""

from __future__ import annotations

import base64
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs.outbound import policy, signing
from runs.outbound.envelope import MAX_OUTPUT_BYTES, Entry, body, event, trial_event
from runs.outbound.types import BY_NAME, PUBLISHED, TEST_TYPE, bad_patterns, matching, schema_of

URL = "https://orchestra.example"
FULL = {
    "key": "a", "reason": "because",
    "error": {"class": "http_5xx", "message": "x", "step": "build", "details": {"b": 1}},
    "attempt": 1, "pass": 1, "kind": "callback", "until": None, "wake_at": 12.5, "worker": "host:1",
    "payload": {"t": 1},
    "request": "r", "title": "t", "verdict": "approve", "by": "ada", "comment": "c", "digest": "d", "output": {"a": 1},
    "of": "01other", "outcome": "done", "steps": 2, "terminated": True, "not_undone": [{"step": "a", "item": None}],
    "lines": ["secret"], "trigger": {"body": "private"},
}  # fmt: skip


def entry(type_: str, **changes: Any) -> Entry:
    step = "" if type_.startswith("run.") else "build"
    fields = {"item": -1, "data": FULL, **changes}
    return Entry(
        "01run", 7, type_, step, at=1_700_000_000.5, actor="ada", flow="f", folder="p", release="1.0.0", **fields
    )


@pytest.mark.parametrize("type_", PUBLISHED)
@pytest.mark.parametrize("data", [FULL, {}])
@pytest.mark.parametrize("output", [True, False])
def test_what_is_sent_fits_the_served_schema(type_: str, data: dict[str, Any], output: bool) -> None:
    sent = event(entry(type_, data=data, item=2), base_url=URL, include_output=output)
    schema = schema_of(BY_NAME[sent["type"]], URL)
    jsonschema_rs.validator_for(schema).validate(sent["data"])
    assert sent["dataschema"] == schema["$id"]
    assert set(sent["data"]) <= set(schema["properties"])  # and nothing leaves that the schema does not name


def test_the_test_event_fits_its_schema() -> None:
    sent = trial_event(message_id="evt_test_1", subscription="ops", at=1.0, base_url=URL)
    jsonschema_rs.validator_for(schema_of(TEST_TYPE, URL)).validate(sent["data"])


@pytest.mark.parametrize("type_", PUBLISHED)
def test_payloads_details_and_triggers_stay_here(type_: str) -> None:
    text = body(event(entry(type_), base_url=URL, include_output=False)).decode()
    assert not any(kept in text for kept in ("details", "payload", "private", "secret", "worker", '"output"'))


def test_an_event_is_a_cloudevent_with_an_id_that_stays() -> None:
    first = event(entry("run.failed"), base_url=URL, include_output=False)
    assert first == event(entry("run.failed"), base_url=URL, include_output=False)
    assert {k: v for k, v in first.items() if k != "data"} == {
        "specversion": "1.0", "source": URL, "type": "orchestra.run.failed.v1", "id": "evt_01run_7",
        "subject": "runs/01run", "time": "2023-11-14T22:13:20.500+00:00", "datacontenttype": "application/json",
        "dataschema": f"{URL}/schemas/events/orchestra.run.failed.v1.json",
    }  # fmt: skip
    assert first["data"]["error"] == {"class": "http_5xx", "message": "x", "step": "build"}


def test_an_output_leaves_only_where_it_is_asked_for_and_not_too_large() -> None:
    asked = event(entry("run.succeeded"), base_url=URL, include_output=True)["data"]
    assert asked["output"] == {"a": 1}
    assert "output" not in event(entry("run.succeeded"), base_url=URL, include_output=False)["data"]
    large = {"output": "x" * MAX_OUTPUT_BYTES}
    sent = event(entry("run.succeeded", data=large), base_url=URL, include_output=True)["data"]
    assert (sent["output"], sent["output_omitted"]) == (None, True)


def test_patterns_choose_types() -> None:
    assert matching(["run.failed"]) == {"run.failed"}
    assert matching(["approval.*"]) == {t for t in PUBLISHED if t.startswith("approval.")}
    assert matching(["*"]) == set(PUBLISHED)
    assert bad_patterns(["run.*", "run.nothing", "r*", "run.f*", "", "[a-z].*"]) == [
        "run.nothing", "r*", "run.f*", "", "[a-z].*",
    ]  # fmt: skip


def test_the_signature_is_the_one_of_the_schemes_own_example() -> None:
    secret, body_ = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert signing.signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body_) == expected


@pytest.mark.parametrize(
    "secret", ["", "abc", "whsec_", "whsec_???", "whsec_" + base64.b64encode(b"x" * 23).decode(), "whsec_" + "A" * 200]
)
def test_what_is_no_signing_secret_is_refused(secret: str) -> None:
    with pytest.raises(ValueError, match="whsec_"):
        signing.key_of(secret)


dice = st.floats(0, 1)
refusals = st.builds(
    policy.Answer,
    st.sampled_from([None, 301, 400, 404, 429, 500, 503]),
    retry_after=st.none() | st.floats(0, 86_400),
)


@given(refusals, st.integers(1, 40), st.floats(0, 10 * policy.WINDOW), dice)
def test_a_refusal_is_tried_again_later_or_given_up_within_attempts_and_window(
    answer: policy.Answer, attempts: int, age: float, dice: float
) -> None:
    now = 1e9
    following = policy.after(answer, attempts=attempts, since=now - age, now=now, dice=dice)
    assert not following.pause
    if following.status == "pending":
        assert following.at is not None
        assert now < following.at <= now - age + policy.WINDOW
        assert following.at >= now + (answer.retry_after or 0)
        assert attempts < policy.MAX_ATTEMPTS
    else:
        assert following.status == "dead"


@given(st.lists(dice, min_size=policy.MAX_ATTEMPTS, max_size=policy.MAX_ATTEMPTS))
def test_an_endpoint_that_is_away_for_a_day_gets_everything(rolls: list[float]) -> None:
    now = 0.0
    for attempt, roll in enumerate(rolls, 1):
        following = policy.after(policy.Answer(500), attempts=attempt, since=0.0, now=now, dice=roll)
        if following.at is None:
            break
        now = following.at
    assert now > 86_400


def test_a_good_answer_ends_it_and_gone_pauses() -> None:
    assert policy.after(policy.Answer(204), attempts=1, since=0, now=0, dice=0) == policy.Next("delivered")
    assert policy.after(policy.Answer(410), attempts=1, since=0, now=0, dice=0) == policy.Next("dead", pause=True)
