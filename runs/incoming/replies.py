"""The answer of a call that waits for its run: `respond` of a webhook.

Nobody's thread waits. The call gets its 202 made at once, with a `Later` on it; the server that sends it may ask that
one again, for as long as the flow says, whether there is a better answer by now (orchestra/handler.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings
from django.http import HttpResponse, JsonResponse
from django.urls import reverse

from flows.definition.expr import ExprError, Scope, render
from flows.definition.models_webhook import RespondModel
from resources import artifacts
from resources.envelope import error_response
from resources.errors import OrchestraError
from runs.models import ENDED, Run, RunStatus

Json = Any
#: error classes that say that what was sent cannot be used, or was turned down; all others are ours
SENDERS: Final = frozenset({"input", "contract", "rejected", "http_4xx"})


class RunFailed(OrchestraError):
    """The run that this call started did not succeed."""

    code = "run_failed"
    status = 502


class RunRefused(RunFailed):
    """… because of what was sent, or because somebody said no."""

    status = 422


@dataclass(frozen=True, slots=True)
class Later:
    """`poll` gives the answer once there is one; it asks the database. `seconds`: how long to go on asking."""

    poll: Callable[[], HttpResponse | None]
    seconds: float


class Waiting(JsonResponse):
    """202, unless who sends it waits for the better answer of `later`."""

    def __init__(self, content: dict[str, Json], later: Later) -> None:
        super().__init__(content, status=202)
        self.later = later


def waiting(status: str, run_id: str, respond: RespondModel, trigger: dict[str, Json]) -> Waiting:
    """The answer of a call that started `run_id`, or started it before."""
    content = {"status": status, "run": run_id, "url": f"{settings.PUBLIC_URL}{reverse('run', args=[run_id])}"}
    return Waiting(content, Later(lambda: answer_of(run_id, respond.output, trigger), respond.wait))


def answer_of(run_id: str, shape: Json, trigger: dict[str, Json]) -> HttpResponse | None:
    """200 with the output of a run that succeeded, 422 or 502 for one that did not; None: it goes on."""
    rows = Run.objects.filter(pk=run_id, status__in=ENDED)
    run = rows.only("status", "output", "error", "error_class").first()
    if run is None:
        return None
    try:
        return JsonResponse(_content(run, shape, trigger), safe=False)
    except OrchestraError as error:
        return error_response(error)


def _content(run: Run, shape: Json, trigger: dict[str, Json]) -> Json:
    """Raises RunFailed, and artifacts.ArtifactDamaged, NotFound for an output that is no longer kept."""
    if run.status != RunStatus.SUCCEEDED:
        raise _failure(run)
    output = run.output
    if isinstance(output, dict) and isinstance(output.get("$res"), str) and shape is None:
        return artifacts.load(artifacts.get(output["$res"]))
    if shape is None:
        return output
    try:
        return render(shape, Scope.of({"run": {"id": run.pk, "output": output}, "trigger": trigger}))
    except ExprError as error:
        raise RunFailed(
            f"The run succeeded, but its answer cannot be made: {error}",
            details={"run": run.pk, "status": run.status, "class": "expression"},
            hint="Compare `respond.output` with what the run gives.",
        ) from error


def _failure(run: Run) -> RunFailed:
    """Names the class and nothing else: what went wrong inside is for people who may see the run."""
    name = run.error_class or str((run.error or {}).get("class", "")) or str(run.status)
    kind = RunRefused if name in SENDERS else RunFailed
    return kind(
        f"The run ended as {run.status} ({name}).",
        details={"run": run.pk, "status": run.status, "class": name},
        hint="The run's page says why.",
    )
