"""Where the outside calls in: webhooks that start runs, callbacks that answer waits.

Programs only: no session, no CSRF, JSON answers. The secret of a hook is its signature, that of a
callback its token.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from flows.definition.models_webhook import hook_of
from flows.definition.plan import Trigger
from flows.plans import Live
from flows.webhooks import Answered, Ignored
from resources.access import Actor
from resources.envelope import error_response, unexpected
from resources.errors import BadInput, Gone, MethodNotAllowed, NotFound, OrchestraError
from resources.proxies import address_of
from runs import answering
from runs.incoming import answers, calls, deliveries, replies

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]


def for_programs(view: View[P]) -> View[P]:
    """POST only; every error in the envelope, a bug of ours with an id."""

    @csrf_exempt
    @wraps(view)
    def wrapped(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        try:
            if request.method != "POST":
                raise MethodNotAllowed("This address takes POST only.")
            return view(request, *args, **kwargs)
        except OrchestraError as error:
            response = error_response(error)
        except Exception as error:  # noqa: BLE001  the outermost edge: logged under an id, told without its insides
            response = error_response(unexpected(error))
        if response.status_code == 405:
            response["Allow"] = "POST"
        return response

    return wrapped


@for_programs
def hook(request: HttpRequest, slug: str, trigger: str) -> HttpResponse:
    """A delivery to a webhook trigger: 202 started, ignored or skipped (that run holds the place), 200 duplicate."""
    live, found = calls.find(slug, trigger)
    address = address_of(request)
    try:
        response, told = _take(live, found, request)
    except OrchestraError as refusal:
        deliveries.note_refusal(live.flow_id, found.name, address, refusal)
        raise
    run_id, why = str(told.get("run", "")), str(told.get("reason", ""))
    deliveries.note(
        live.flow_id, found.name, address, status=told["status"], http=response.status_code, run_id=run_id, why=why
    )
    return response


def _take(live: Live, trigger: Trigger, request: HttpRequest) -> tuple[HttpResponse, dict[str, Any]]:
    """The answer, and its facts for the log."""
    outcome = calls.decide(live, trigger, request)
    if isinstance(outcome, Answered):
        return JsonResponse(outcome.content), {"status": "answered"}
    if isinstance(outcome, Ignored):
        told = {"status": "ignored", "reason": outcome.reason}
        return JsonResponse(told, status=202), told
    started = calls.start(live, trigger, outcome, request)
    status = "started" if started.created else "skipped" if started.skipped else "duplicate"
    told = {"status": status, "run": started.run.pk}
    respond = hook_of(trigger.config).respond
    if respond is not None and not started.skipped:
        return replies.waiting(status, started.run.pk, respond, outcome.trigger), told
    return JsonResponse(told, status=200 if status == "duplicate" else 202), told


@for_programs
def callback(request: HttpRequest, token: str) -> HttpResponse:
    """The answer to a `wait: {callback: …}`; the first one counts, a repeat is told the same."""
    body = calls.body_of(request)
    answers.check_signature(answering.callback_of(token), request, body)
    payload = answers.masked(token, answers.payload_of(request, body))
    told = {"status": "accepted"}
    actor = Actor("trigger", "callback", address=address_of(request))
    delivery = answering.deliver(token=token, payload=payload, actor=actor, response=told)
    if delivery.outcome == "refused":
        raise BadInput(
            "The body breaks the schema this step declares.", code="contract", details=list(delivery.problems),
            hint="The step still waits: send a body that fits.",
        )  # fmt: skip
    if delivery.outcome == "late":
        raise Gone("The step no longer waits: its time was up, or the run ended.", hint="Nothing was changed.")
    if delivery.outcome == "unknown":
        raise NotFound("No step waits for this address.")
    return JsonResponse(delivery.response or told, status=202)
