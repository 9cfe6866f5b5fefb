"""Random plans that lint would let pass: up to 12 steps with everything the language of this version has."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from flows.definition.plan import (
    AlreadyDone,
    Check,
    End,
    Fallback,
    ForEach,
    Handler,
    Plan,
    Retry,
    StepPlan,
    Undo,
    Until,
)

RETRIES = st.builds(
    Retry,
    max_attempts=st.integers(1, 4),
    initial=st.sampled_from([0.0, 1.0, 30.0]),
    jitter=st.sampled_from(["full", "none"]),
    window=st.sampled_from([None, 20.0]),
    give_up_on=st.sampled_from([(), ("timeout",)]),
)
FALLBACKS = st.sampled_from(
    [
        None, None, None, Fallback(value="stood in"), Fallback(family="function", config={}), Fallback(last_good=True),
        Fallback(value="for a slow one", on=("timeout",)),
    ]
)  # fmt: skip
#: over what the machine's attempts give: a mapping for those that went through their outcomes, else 1
CHECKS = st.sampled_from(
    [(), (), (), (), (Check("${{ input.go }}"),), (Check("${{ 1 == 1 }}"), Check("${{ input.go }}"))]
)
ASKS = st.sampled_from([None, None, AlreadyDone("http", {}, "${{ input.go }}", "${{ check.output }}")])
EFFECTS = st.sampled_from([None, None, "none", "idempotent", "once"])
FAN_OUTS = st.builds(
    ForEach,
    items=st.lists(st.integers(0, 9), max_size=4),
    max_parallel=st.sampled_from([None, 1, 2]),
    on_item_error=st.sampled_from(["fail", "continue"]),
    batch=st.sampled_from([None, None, 2]),
) | st.builds(
    ForEach,
    items=st.lists(st.integers(0, 3), max_size=6),
    max_parallel=st.sampled_from([None, 1, 2]),
    on_item_error=st.sampled_from(["fail", "continue"]),
    key=st.just("${{ item }}"),
)
UNDOS = st.sampled_from([None, Undo("http", {}, retry=Retry(max_attempts=2, initial=0.0, jitter="none"))])
ENDS: st.SearchStrategy[tuple[End, ...]] = st.sampled_from([("cancel",), ("cancel", "failure"), ("failure",), ()])
HANDLER_STEPS = ("h0", "h1")
CALLS = [Handler("steps", steps=HANDLER_STEPS), Handler("steps", steps=HANDLER_STEPS[1:])]
RUN_MISSED = st.sampled_from([None, Handler("compensate"), *CALLS])
MISSED = st.sampled_from([None, None, Handler("fail"), Handler("value", value="late"), *CALLS])
CONDITIONS = st.sampled_from([None, None, None, True, False, "${{ input.go }}", "${{ !input.go }}"])


@st.composite
def plans(draw: st.DrawFn, most: int = 30) -> Plan:
    steps: list[StepPlan] = []
    for index in range(draw(st.integers(1, most))):
        steps.append(draw(_steps(f"s{index}", steps)))
    steps = [_with_targets(draw, s, steps) if s.family == "route" else s for s in steps]
    handlers = [StepPlan(id=name, family="function", config={}, handler=True) for name in HANDLER_STEPS]
    return Plan(
        language=1, flow="random", title="Random", steps=(*steps, *handlers), output={"n": "${{ input.go }}"},
        deadline=draw(st.sampled_from([None, 500.0])), on_deadline=draw(RUN_MISSED),
        compensate_on=draw(ENDS), sla=draw(st.sampled_from([None, 50.0])), on_sla=draw(RUN_MISSED),
    )  # fmt: skip


@st.composite
def _steps(draw: st.DrawFn, id_: str, before: list[StepPlan]) -> StepPlan:
    earlier = [s.id for s in before]
    common: dict[str, Any] = {
        "needs": tuple(draw(st.lists(st.sampled_from(earlier), max_size=3, unique=True))) if earlier else (),
        "condition": draw(CONDITIONS),
        "when": draw(st.sampled_from(["success", "success", "success", "failure", "always"])),
        "retry": draw(RETRIES),
        "requires": draw(CHECKS),
    }
    if common["when"] == "failure" and draw(st.booleans()):
        common["failure_of"] = ("timeout",)
    first = ["approval", "approval", "function", "wait"]
    family = draw(
        st.sampled_from(["http", "http", "http", "function", "wait", "approval", "route"] if before else first)
    )
    if family == "route":
        del common["retry"], common["requires"]
        return StepPlan(id=id_, family=family, config={}, **common)
    if family == "approval":
        config = {
            "on_reject": draw(st.sampled_from(["stop", "fail", "continue"])),
            "on_expiry": draw(st.sampled_from(["reject", "fail"])),
        }
        return StepPlan(id=id_, family=family, config=config, **common)
    approvals = [s.id for s in before if s.family == "approval"]
    if family == "http" and approvals:
        protectors = st.lists(st.sampled_from(approvals), min_size=1, max_size=2, unique=True)
        common["protected_by"] = tuple(draw(protectors | st.just([])))
        common["needs"] = tuple(dict.fromkeys((*common["needs"], *common["protected_by"])))
        common["irreversible"] = draw(st.booleans())
    if len(common["needs"]) > 1 and common["when"] == "success" and not common.get("protected_by"):
        common["join"] = draw(st.none() | st.integers(1, len(common["needs"]) - 1))
    if family == "http":
        common |= {"already_done": draw(ASKS), "effect": draw(EFFECTS)}
    common["ensures"] = draw(CHECKS)
    each = draw(st.none() | FAN_OUTS)
    common["compensate"] = draw(UNDOS) if family != "wait" else None
    common |= {
        "deadline": draw(st.sampled_from([None, None, 40.0])), "sla": draw(st.sampled_from([None, None, 20.0])),
        "on_timeout": draw(MISSED), "on_deadline": draw(MISSED), "on_sla": draw(MISSED) if each is None else None,
    }  # fmt: skip
    if family != "wait" and not common.get("irreversible"):
        until = Until(f"${{{{ steps.{id_}.output == 1 }}}}", every=draw(st.sampled_from([0.0, 10.0])), max_rounds=3)
        common["until"] = draw(st.sampled_from([None, None, until]))
    return StepPlan(id=id_, family=family, config={}, for_each=each, fallback=draw(FALLBACKS), **common)


def _with_targets(draw: st.DrawFn, route: StepPlan, steps: list[StepPlan]) -> StepPlan:
    """A table over the steps that need the route: some by its rule, some by its default, some by none."""
    after = [s.id for s in steps if route.id in s.needs]
    some = st.lists(st.sampled_from(after), unique=True) if after else st.just([])
    rule = {"if": draw(st.sampled_from([True, False, "${{ input.go }}"])), "to": draw(some)}
    return replace(route, config={"rules": [rule], "default": {"to": draw(some)}})
