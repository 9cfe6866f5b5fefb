"""Where the outside calls in: webhooks that start runs, callbacks that answer waits.

Programs only: no session, no CSRF, JSON answers. The secret of a hook is its signature, that of a
callback its token.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from flows.definition.plan import Plan, Trigger
from flows.headline import SLUG
from flows.models import Flow, Release
from flows.plans import Live, live_plan
from flows.webhooks import Accepted, Delivery, Ignored, receive
from resources.access import Actor
from resources.envelope import error_response, unexpected
from resources.errors import BadInput, Gone, MethodNotAllowed, NotFound, OrchestraError, TooLarge
from resources.jsonio import read_json
from resources.secrets import reveal
from runs import actions

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
    """A delivery to a webhook trigger: 202 started, ignored, duplicate or skipped (that run holds the place)."""
    live = live_plan(slug) if SLUG.fullmatch(slug) else None
    found = live.plan.trigger(trigger) if live else None
    if live is None or found is None or found.kind != "webhook":
        raise NotFound(
            "There is no live flow with a webhook of this name.", hint="Check the address on the flow's page."
        )
    outcome = _received(live.plan, found, request)
    if isinstance(outcome, Ignored):
        return JsonResponse({"status": "ignored", "reason": outcome.reason}, status=202)
    started = _start(live, found, outcome, request)
    status = "started" if started.created else "skipped" if started.skipped else "duplicate"
    return JsonResponse({"status": status, "run": started.run.pk}, status=202)


@for_programs
def callback(request: HttpRequest, token: str) -> HttpResponse:
    """The answer to a `wait: {callback: …}`; the first one counts, a repeat is told the same."""
    body = _body(request)
    payload = read_json(body, max_bytes=settings.MAX_BODY_BYTES) if body else None
    told = {"status": "accepted"}
    actor = Actor("trigger", "callback", address=_address(request))
    delivery = actions.deliver(token=token, payload=payload, actor=actor, response=told)
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


def _received(plan: Plan, trigger: Trigger, request: HttpRequest) -> Ignored | Accepted:
    delivery = Delivery(
        headers={name.lower(): value for name, value in request.headers.items()},
        query={name: values[-1] for name, values in request.GET.lists()},
        body=_body(request),
    )
    name = trigger.config.get("secret")
    secret = _secret(name) if isinstance(name, str) and trigger.config.get("verify") != "none" else None
    return receive(plan, trigger, delivery, secret=secret, max_bytes=settings.MAX_BODY_BYTES)


def _secret(name: str) -> str | None:
    try:
        return reveal(name)
    except NotFound:
        return None  # receive() says that it is missing


def _start(live: Live, trigger: Trigger, accepted: Accepted, request: HttpRequest) -> actions.Started:
    return actions.start_run(
        actor=Actor.trigger(f"{live.slug}/{trigger.name}", live.folder, _address(request)),
        flow=Flow(pk=live.flow_id, slug=live.slug, folder=live.folder),
        release=Release(pk=live.release_id, flow_id=live.flow_id),
        input=accepted.input,
        trigger=accepted.trigger,
        idempotency_key=accepted.dedupe_key,
        source=f"hook:{trigger.name}",
    )


def _body(request: HttpRequest) -> bytes:
    """Raises TooLarge before a byte more than allowed is looked at."""
    too_large = TooLarge(f"A body may have {settings.MAX_BODY_BYTES} bytes.", hint="Send less, or a link to it.")
    try:
        body = request.body
    except RequestDataTooBig:
        raise too_large from None
    if len(body) > settings.MAX_BODY_BYTES:
        raise too_large
    return body


def _address(request: HttpRequest) -> str:
    return str(request.META.get("REMOTE_ADDR", ""))[:64]
