"""The policy as tables."""

from __future__ import annotations

import pytest

from approvals.policy import Person, Question, Vote, closed, refusal, standing

OPEN = Question(status="open", digest="d2", quorum=2)


def vote(person: int, verdict: str = "approve", digest: str = "d2", at: float = 0.0) -> Vote:
    return Vote(person, f"p{person}", verdict, digest, at or float(person))


@pytest.mark.parametrize(
    ("votes", "outcome", "missing"),
    [
        pytest.param([], "open", 2, id="nobody has voted"),
        pytest.param([vote(1)], "open", 1, id="one of two"),
        pytest.param([vote(1), vote(2)], "approved", 0, id="quorum"),
        pytest.param([vote(1), vote(1, at=5.0)], "open", 1, id="the same person twice counts once"),
        pytest.param([vote(1, digest="d1"), vote(2)], "open", 1, id="a vote for another action does not count"),
        pytest.param([vote(1, digest="d1"), vote(1), vote(2)], "approved", 0, id="who voted again counts"),
        pytest.param([vote(1), vote(2, "reject")], "rejected", 1, id="one rejection rejects"),
        pytest.param([vote(1), vote(2), vote(3, "reject")], "rejected", 0, id="a rejection outweighs a quorum"),
    ],
)
def test_votes_amount_to(votes: list[Vote], outcome: str, missing: int) -> None:
    result = standing(OPEN, votes)
    assert (result.outcome, result.missing) == (outcome, missing)


def test_void_votes_are_named_until_their_people_vote_again() -> None:
    assert standing(OPEN, [vote(1, digest="d1"), vote(2)]).void == ("p1",)
    assert standing(OPEN, [vote(1, digest="d1"), vote(2), vote(1, at=9.0)]).void == ()


REVIEWER = Person(1, "rita", frozenset({"managers"}), reviews=True)


@pytest.mark.parametrize(
    ("question", "person", "code"),
    [
        pytest.param(OPEN, REVIEWER, None, id="a reviewer may"),
        pytest.param(OPEN, Person(1, "rita"), "not_a_reviewer", id="without the role"),
        pytest.param(OPEN, Person(0, "hook", reviews=True, signed_in=False), "not_a_person", id="a machine"),
        pytest.param(Question("open", "d", users=frozenset({"rita"})), REVIEWER, None, id="named"),
        pytest.param(Question("open", "d", groups=frozenset({"managers"})), REVIEWER, None, id="in a named group"),
        pytest.param(Question("open", "d", users=frozenset({"rolf"})), REVIEWER, "not_a_reviewer", id="not named"),
        pytest.param(
            Question("open", "d", users=frozenset({"rita"})), Person(1, "rita"), "not_a_reviewer",
            id="named, but without the role",
        ),
        pytest.param(Question("open", "d", excluded={1: "starter"}), REVIEWER, "excluded_starter", id="the starter"),
        pytest.param(Question("open", "d", excluded={1: "author"}), REVIEWER, "excluded_author", id="the author"),
        pytest.param(Question("open", "d", excluded={2: "starter"}), REVIEWER, None, id="somebody else is excluded"),
    ],
)  # fmt: skip
def test_who_may_decide(question: Question, person: Person, code: str | None) -> None:
    found = refusal(question, person)
    assert (found.code if found else None) == code


@pytest.mark.parametrize(
    ("status", "expires_at", "now", "expected"),
    [
        ("open", None, 10.0, ""),
        ("open", 11.0, 10.0, ""),
        ("open", 10.0, 10.0, "expired"),
        ("withdrawn", None, 10.0, "withdrawn"),
        ("approved", 9.0, 10.0, "approved"),
    ],
)
def test_recorded_time_ends_a_request(status: str, expires_at: float | None, now: float, expected: str) -> None:
    assert closed(Question(status, "d", expires_at=expires_at), now) == expected
