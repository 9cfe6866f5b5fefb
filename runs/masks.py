"""Secrets in what comes back to a run from outside: answers to its waits, events, deliveries, what runners say.

Whoever was sent a secret by one of its steps may send it on. So the values of all secrets that the run's own release
may reach are replaced before anything is stored, like those in the outputs of steps: of the connections that it names,
as they are bound for it, with the tokens that these were given, and of signed calls. Known by what the release says,
not by what it did so far: an answer may come before the step that sent the secret has ended. Where none is named,
nothing is read.

Not inside transactions: a value may be kept elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flows import bindings
from flows.definition.bindings import Place, stands_for
from flows.definition.plan import Plan
from resources import backends, connections, crypto, oauth_kept, secrets
from resources.errors import NotFound
from resources.masking import Masker
from resources.models import Connection
from runs import uses
from runs.loading import plan_of
from runs.models import Run

Settings = Mapping[str, Any]


def of_run(run_id: str, *, also: Iterable[str] = ()) -> Masker:
    """`also`: more values. Of a run that is not there only these. Raises backends.errors.Unreachable."""
    run = Run.objects.select_related("flow").only("release_id", "trigger", "flow__slug").filter(pk=run_id).first()
    if run is None:
        return Masker(also)
    return of_plan(plan_of(run.release_id), Place(run.flow.slug, bool(run.trigger.get("test"))), also=also)


def of_plan(plan: Plan, place: Place, *, also: Iterable[str] = (), former: bool = True) -> Masker:
    """`former`: with the values from before that are still accepted; workers may not read those.

    Raises backends.errors.Unreachable.
    """
    masker, reached = Masker(also), _reached(plan, place)
    named = {name for _, kind, settings in reached for name in connections.secrets_in(kind, settings)}
    for name in sorted(named | uses.secrets_of(plan)):
        for value in _values(name, former):
            masker.add(value)
    for token in _tokens(reached):
        masker.add(token)
    return masker


def _reached(plan: Plan, place: Place) -> list[tuple[int, str, Settings]]:
    """(id, kind, settings) of its connections."""
    if not plan.connections:
        return []
    bound = bindings.read(names=plan.connections, flow=place.flow)
    real = {stands_for(name, place, bound) for name in plan.connections}
    return list(Connection.objects.filter(name__in=real).values_list("pk", "kind", "settings"))


def _tokens(reached: list[tuple[int, str, Settings]]) -> list[str]:
    """What other sides gave these connections to sign in with. Where none of them asks for tokens nothing is read."""
    asking = [pk for pk, kind, settings in reached if kind == "http" and _auth(settings) == "oauth2"]
    return oauth_kept.in_use(asking) if asking else []


def _auth(settings: Settings) -> Any:
    return (settings.get("auth") or {}).get("type")


def _values(name: str, former: bool) -> list[str]:
    """None of a secret that is gone or cannot be read: no step can have sent it."""
    try:
        return secrets.reveal_all(name) if former else [secrets.reveal(name)]
    except (NotFound, crypto.CannotDecrypt, backends.errors.Refused):
        return []
