"""What the flows name. Connections: one row for each, kept with every draft that is saved and every release that goes
live, so that deleting a connection and the list of connections need not read all flows. Secrets are few and seldom
deleted: they are looked for in the texts that hold their name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from django.db.models import Count, Q

from flows import bindings
from flows.definition import yaml_source
from flows.definition.bindings import Bindings, Place, places_in, stands_for
from flows.definition.plan import Plan
from flows.definition.template import has_expression
from flows.models import ConnectionUse, Flow
from resources.usage import Use

_INNER = ("compensate", "fallback", "already_done")
MAX_NAME = 64


def named_in(source: str) -> frozenset[str]:
    """The connections that a flow's text names, as far as it can be read. Pure."""
    data = yaml_source.parse(source).data
    steps = data.get("steps") if isinstance(data, dict) else None
    found = (name for step in steps for name in _of_step(step)) if isinstance(steps, list) else ()
    return _plain(found)


def named_by(plan: Plan) -> frozenset[str]:
    """The connections that a plan names. Pure."""
    return _plain(plan.connections)


def _of_step(step: Any) -> Iterator[Any]:
    if not isinstance(step, dict):
        return
    for key, value in step.items():
        if isinstance(value, dict):
            yield from (name for _, name in places_in(value))
            if key in _INNER:
                yield from _of_step(value)


def secrets_in(source: str) -> frozenset[str]:
    """The secrets that a flow's text names: of webhooks and of waits for signed calls. Pure."""
    data = yaml_source.parse(source).data
    if not isinstance(data, dict):
        return frozenset()
    hooks = (_at(trigger, "webhook") for trigger in _list(data.get("triggers")))
    waits = (_at(step, "wait") for step in _list(data.get("steps")))
    answers = (one for wait in waits for one in (wait, *_mapping(_at(wait, "first")).values()))
    return _plain(_at(tree, "secret") for tree in (*hooks, *(_at(answer, "callback") for answer in answers)))


def _at(tree: Any, key: str) -> Any:
    return tree.get(key) if isinstance(tree, dict) else None


def _mapping(tree: Any) -> dict[Any, Any]:
    return tree if isinstance(tree, dict) else {}


def _list(tree: Any) -> list[Any]:
    return tree if isinstance(tree, list) else []


def _plain(names: Any) -> frozenset[str]:
    return frozenset(n for n in names if isinstance(n, str) and 0 < len(n) <= MAX_NAME and not has_expression(n))


def keep(flow: Flow, names: frozenset[str], *, live: bool) -> None:
    """Replace what is kept of the flow's live release or its draft, in the caller's transaction."""
    rows = ConnectionUse.objects.filter(flow=flow, live=live)
    before = set(rows.values_list("name", flat=True))
    if gone := before - names:
        rows.filter(name__in=gone).delete()
    ConnectionUse.objects.bulk_create(
        [ConnectionUse(flow=flow, name=name, live=live) for name in sorted(names - before)], ignore_conflicts=True
    )


def using_connection(name: str) -> list[Use]:
    """Registered with resources.usage: a flow keeps the connection that its live release reaches in live runs, and so
    does a binding of a flow that is live; drafts, tests and other bindings do not."""
    names = bindings.reaching(name) | {name}
    bound = bindings.read(names=names)
    rows = ConnectionUse.objects.filter(name__in=names).order_by("flow__slug", "-live")
    found: dict[str, str] = {}
    for slug, called, live in rows.values_list("flow__slug", "name", "live"):
        how = _how(name, called, slug, live, bound)
        if how and _ORDER.index(how) < _ORDER.index(found.get(slug, _ORDER[-1])):
            found[slug] = how
    uses = [Use(_WORDS[how].format(slug), f"/flows/{slug}", blocks=how == "live") for slug, how in found.items()]
    return [*uses, *_by_bindings(name, bound, {slug for slug, how in found.items() if how == "live"})]


_ORDER: Final = ("live", "draft", "test", "")
_WORDS: Final = {"live": "flow {}", "draft": "draft of flow {}", "test": "tests of flow {}"}


def _how(connection: str, called: str, slug: str, live: bool, bound: Bindings) -> str:
    """How a flow that names `called` uses the connection; "": not, a binding leads elsewhere."""
    live_one, test_one = (stands_for(called, Place(slug, test), bound) for test in (False, True))
    if connection not in (live_one, test_one):
        return ""
    if not live:
        return "draft"
    return "live" if connection == live_one else "test"


def _by_bindings(connection: str, bound: Bindings, told: set[str]) -> list[Use]:
    """The bindings that name it, but those of flows that are told as live users already."""
    own = {slug for slug, _ in bound if slug}
    live = set(Flow.objects.filter(slug__in=own, live__isnull=False).values_list("slug", flat=True)) if own else set()
    uses = []
    for (slug, name), sides in sorted(bound.items()):
        if connection in (sides.live, sides.test) and slug not in told:
            label = f"binding {name} of flow {slug}" if slug else f"binding {name} of all flows"
            url = f"/flows/{slug}/bindings/{name}/edit" if slug else f"/bindings/{name}/edit"
            uses.append(Use(label, url, blocks=sides.live == connection and slug in live))
    return uses


def using_secret(name: str) -> list[Use]:
    """Registered with resources.usage: a live webhook or signed wait keeps it, a draft alone does not."""
    texts = Flow.objects.filter(Q(live__source__contains=name) | Q(draft__source__contains=name)).order_by("slug")
    found = []
    for slug, live, draft in texts.values_list("slug", "live__source", "draft__source"):
        if live and name in secrets_in(live):
            found.append(Use(f"flow {slug}", f"/flows/{slug}"))
        elif draft and name in secrets_in(draft):
            found.append(Use(f"draft of flow {slug}", f"/flows/{slug}", blocks=False))
    return found


def count_connections() -> Mapping[str, int]:
    """{connection: flows that use it, live, in tests or by their draft}. Registered with resources.usage.

    Three queries: only the flows that name something bound are looked at one by one.
    """
    bound = bindings.read()
    names = {name for _, name in bound} | {real for sides in bound.values() for real in (sides.test, sides.live)}
    plain = ConnectionUse.objects.exclude(name__in=names).values("name").annotate(flows=Count("flow", distinct=True))
    counts = Counter(dict(plain.values_list("name", "flows")))
    users: dict[str, set[str]] = {}
    rows = ConnectionUse.objects.filter(name__in=names).values_list("flow__slug", "name").distinct() if bound else ()
    for slug, called in rows:
        for test in (False, True):
            users.setdefault(stands_for(called, Place(slug, test), bound), set()).add(slug)
    counts.update({name: len(slugs) for name, slugs in users.items()})
    return counts
