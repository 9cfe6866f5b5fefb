"""What the forms of the run page send -> the action. JSON fields are texts there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from django.conf import settings

from resources.access import Actor
from resources.errors import BadInput
from resources.jsonio import read_json
from runs import controls, copies

Post = Mapping[str, str]


def carry_out(actor: Actor, run_id: str, verb: str, post: Post) -> str:
    """Do it; gives the id of the run to show then. Raises what the action raises; BadInput for a form that is wrong."""
    return _DO[verb](actor, run_id, post)


def _reason(post: Post) -> str:
    return post.get("reason", "").strip()


def _item(post: Post) -> int | None:
    text = post.get("item", "")
    return int(text) if text.isdecimal() and len(text) < 7 else None


def _json(post: Post, name: str) -> Any:
    """The value written in a field; None where nothing is. Raises MalformedBody, TooLarge."""
    text = post.get(name, "").strip()
    return read_json(text.encode(), max_bytes=settings.MAX_BODY_BYTES) if text else None


def _terminate(actor: Actor, run_id: str, post: Post) -> str:
    controls.terminate_run(actor=actor, run_id=run_id, reason=_reason(post))
    return run_id


def _retry(actor: Actor, run_id: str, post: Post) -> str:
    controls.retry_run(actor=actor, run_id=run_id, reason=_reason(post))
    return run_id


def _retry_from(actor: Actor, run_id: str, post: Post) -> str:
    controls.retry_run_from(actor=actor, run_id=run_id, step=post.get("step", ""), reason=_reason(post))
    return run_id


def _skip(actor: Actor, run_id: str, post: Post) -> str:
    step, item = post.get("step", ""), _item(post)
    controls.skip_step(actor=actor, run_id=run_id, step=step, item=item, reason=_reason(post))
    return run_id


def _complete(actor: Actor, run_id: str, post: Post) -> str:
    given: dict[str, Any] = {"step": post.get("step", ""), "item": _item(post), "output": _json(post, "output")}
    controls.complete_step(actor=actor, run_id=run_id, reason=_reason(post), **given)
    return run_id


def _outcome(actor: Actor, run_id: str, post: Post) -> str:
    given: dict[str, Any] = {"step": post.get("step", ""), "item": _item(post), "output": _json(post, "output")}
    controls.say_outcome(
        actor=actor, run_id=run_id, outcome=post.get("outcome", ""), reason=_reason(post), **given
    )  # fmt: skip
    return run_id


def _replay(actor: Actor, run_id: str, post: Post) -> str:
    release = post.get("release", "live")
    if release not in ("live", "same"):
        raise BadInput("A replay runs on the live release or on the same one.", code="bad_release")
    given = _json(post, "input") if "input" in post else copies.SAME
    reason = _reason(post)
    run = copies.replay_run(
        actor=actor, run_id=run_id, input=given, release="same" if release == "same" else "live", reason=reason
    ).run
    return run.pk


def _fork(actor: Actor, run_id: str, post: Post) -> str:
    given = _json(post, "input") if "input" in post else copies.SAME
    step = post.get("step", "")
    return copies.fork_run(actor=actor, run_id=run_id, step=step, input=given, reason=_reason(post)).run.pk


_DO: Final[Mapping[str, Callable[[Actor, str, Post], str]]] = {
    "terminate": _terminate,
    "retry": _retry,
    "retry_from": _retry_from,
    "skip": _skip,
    "complete": _complete,
    "outcome": _outcome,
    "replay": _replay,
    "fork": _fork,
}
VERBS: Final = frozenset(_DO)
