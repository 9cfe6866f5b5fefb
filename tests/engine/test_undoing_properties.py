"""Over random plans: what was done is undone backwards; and however often a run is retried, nothing succeeds twice."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.definition.plan import UNDO, Plan, Retry
from runs.engine import inputs
from runs.engine.state import BACKOFF, CLAIMABLE, RUNNING, SUCCEEDED, UNKNOWN, Step
from tests.engine.game import ERROR, Game
from tests.engine.random_plans import plans
from tests.engine.test_decide_compensation import UNDO as ACTION

OPTIONS = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def plain(plan: Plan) -> Plan:
    """All steps act, none is skipped or asks."""
    steps = tuple(
        replace(
            s, family="http", config={}, condition=None, when="success", protected_by=(), irreversible=False,
            fallback=None, compensate=ACTION, retry=Retry(max_attempts=1), join=None, already_done=None, effect=None,
            requires=(), ensures=(), until=None,
        )
        for s in plan.steps
    )  # fmt: skip
    return replace(plan, steps=steps, compensate_on=("cancel",), output=None)


def movable(game: Game) -> list[Step]:
    found = [s for s in game.state.steps.values() if s.status in {RUNNING, *CLAIMABLE}]
    return sorted(found, key=lambda s: s.key)


def move(game: Game, step: Step, outcome: str) -> None:
    """One start or one end, however it goes."""
    if step.status == BACKOFF:
        game.now += 1000.0
    if step.status != RUNNING:
        game.begin(*step.key)
    elif outcome == "lost":
        game.lose(*step.key)
    else:
        game.end(step.id, outcome, step.item, error=None if outcome == "done" else ERROR)


@OPTIONS
@given(plan=plans().map(plain), data=st.data(), moves=st.integers(0, 30))
def test_a_cancelled_run_undoes_all_that_acted_and_the_last_first(plan: Plan, data: st.DataObject, moves: int) -> None:
    game = Game(plan)
    ended: list[tuple[str, int]] = []
    for _ in range(moves):
        if game.state.ended or not movable(game):
            break
        step = data.draw(st.sampled_from(movable(game)))
        move(game, step, data.draw(st.sampled_from(["done", "done", "done", "lost"])))
        if game[step.key].status == SUCCEEDED:
            ended.append(step.key)
    if game.state.status == "succeeded" or not game.cancel().accepted:
        return
    while any(s.status == RUNNING for s in game.state.steps.values()):
        step = next(s for s in movable(game) if s.status == RUNNING)
        move(game, step, "done")
        ended.append(step.key)
    undone: list[tuple[str, int]] = []
    while not game.state.ended:
        (step,) = movable(game)
        assert step.id.endswith(UNDO), "nothing else starts, and one at a time"
        if step.status == RUNNING:
            undone.append((step.id.removesuffix(UNDO), step.item))
        move(game, step, "done")
    wanted = {s.key for s in game.state.steps.values() if not s.id.endswith(UNDO) and acted(plan, s)}
    assert set(undone) == wanted and len(undone) == len(wanted)
    assert [key for key in undone if key in ended] == [key for key in reversed(ended) if key in wanted]


def acted(plan: Plan, step: Step) -> bool:
    is_whole = plan.step(step.id).for_each is None
    return is_whole == (step.item < 0) and (step.status in {SUCCEEDED, UNKNOWN} or step.acted)


@OPTIONS
@given(plan=plans().map(plain), data=st.data())
def test_however_often_it_is_retried_nothing_that_succeeded_runs_again(plan: Plan, data: st.DataObject) -> None:
    game = Game(plan)
    done: set[tuple[str, int, int]] = set()
    good = 0
    for _ in range(600):
        if game.state.status == "succeeded":
            break
        if game.state.ended:
            good += 1
            assert game.give(inputs.RetryRequested("o")).accepted
            assert game.give(inputs.Started()).accepted
            continue
        step = movable(game)[0] if good > 3 else data.draw(st.sampled_from(movable(game)))
        outcome = "done" if good > 3 else data.draw(st.sampled_from(["done", "done", "fail", "lost"]))
        assert step.status == RUNNING or (*step.key, step.pass_no) not in done
        move(game, step, outcome)
        if game[step.key].status == SUCCEEDED:
            done.add((*step.key, step.pass_no))
    assert game.state.status == "succeeded"
    assert all(s.pass_no == 1 for s in game.state.steps.values())
