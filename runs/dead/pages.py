"""Rows -> what the pages of dead letters, their replays and the quarantine show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlencode

from resources.access import Actor, can, folders_for
from resources.models import Role
from runs import looks
from runs.about import about
from runs.dead import letters, quarantine, replays
from runs.dead.letters import Filter
from runs.models import NO_ITEM, Quarantine, ReplayBatch, ReplayItem, Run, StepRun
from runs.pages import plan_of
from runs.sensitive.rows import of_run, of_runs
from runs.sensitive.veil import NOTHING

PAGE: Final = 25
ITEMS: Final = 100
#: range -> seconds
RANGES: Final[Mapping[str, float]] = {"1h": 3600.0, "24h": 86400.0, "7d": 604800.0, "30d": 2592000.0}
FIELDS: Final = ("error_class", "flow", "folder", "q", "range")


@dataclass(frozen=True, slots=True)
class Asked:
    """The filter of one address. `range`: "" for all times; `until`: nothing that gave up later."""

    filter: Filter
    range: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str], now: float) -> Asked:
        """Whatever is not known is ignored, so that an old link still shows a list."""
        given = [query.get(name, "").replace("\0", "").strip()[:100] for name in FIELDS[:4]]
        span = query.get("range", "") if query.get("range") in RANGES else ""
        error_class, flow, folder, q = given
        asked = Filter(error_class, flow, folder, q)
        return cls(replace(asked, since=now - RANGES[span]) if span else asked, span)

    @property
    def narrowed(self) -> bool:
        return bool(self.filter.to_json())

    def link(self, **changes: str) -> str:
        """The query string of this list with something changed; its first page unless `cursor` is given."""
        parts = {**{name: getattr(self.filter, name) for name in FIELDS[:4]}, "range": self.range, **changes}
        text = urlencode({name: value for name, value in parts.items() if value})
        return f"?{text}" if text else "?"


def letters_page(actor: Actor, asked: Asked, cursor: str, now: float) -> dict[str, Any]:
    """The list with its groups. Raises BadInput `bad_cursor`."""
    rows = letters.dead_letters(actor, asked.filter)
    items, following = letters.page_of(rows, cursor=cursor or None, limit=PAGE)
    everything = letters.dead_letters(actor, Filter())
    running = [b for b in replays.list_replays(actor, 10) if b.status == ReplayBatch.Status.RUNNING]
    return {
        "rows": rows_of(actor, items),
        "asked": asked,
        "total": rows.count(),
        "classes": _chips(actor, asked),
        "flows": list(everything.order_by("flow__slug").values_list("flow__slug", flat=True).distinct()[:500]),
        "folders": list(everything.order_by("flow__folder").values_list("flow__folder", flat=True).distinct()[:200]),
        "ranges": [{"name": r, "link": asked.link(range=r), "on": r == asked.range} for r in ("", *RANGES)],
        "by_flow": [{**g, "link": asked.link(flow=g["name"])} for g in letters.groups(rows, "flow__slug")],
        "next": asked.link(cursor=following) if following else "",
        "first": asked.link() if cursor else "",
        "back": asked.link(),
        "operates": folders_for(actor, Role.OPERATOR) != [],
        "replayable": replays.count_replay(actor=actor, asked=replace(asked.filter, until=now)),
        "default_rate": replays.DEFAULT_RATE,
        "max_rate": replays.MAX_RATE,
        "running": running,
        "quarantined": quarantine.visible(actor).filter(released_at__isnull=True).count(),
        "now": now,
    }


def _chips(actor: Actor, asked: Asked) -> list[dict[str, Any]]:
    wide = letters.dead_letters(actor, asked.filter.without_class())
    chosen = asked.filter.error_class
    found = [group for group in letters.groups(wide, "error_class") if group["name"]]
    chips = [{"label": "All", "n": wide.count(), "link": asked.link(error_class=""), "on": not chosen}]
    for group in found:
        name = group["name"]
        chips.append({"label": name, "n": group["count"], "link": asked.link(error_class=name), "on": name == chosen})
    return chips


def rows_of(actor: Actor, items: Sequence[Run]) -> list[dict[str, Any]]:
    """View dicts of a page of dead letters."""
    attempts, veils = attempts_of(items), of_runs(items)
    return [
        {
            "id": run.pk,
            "title": run.flow.title or run.flow.slug,
            "about": veils[run.pk].text(about(run.input, plan_of(run.release).input_schema)),
            "flow": run.flow.slug,
            "version": run.release.version,
            "timed_out": run.status == "timed_out",
            "error_class": run.error_class,
            "message": veils[run.pk].text(str((run.error or {}).get("message", ""))),
            "step": (run.error or {}).get("step", ""),
            "attempts": attempts.get(run.pk),
            "undoing": letters.left_undone(run),
            "dead_at": run.dead_at,
            "operates": can(actor, Role.OPERATOR, run.flow.folder),
        }
        for run in items
    ]


def attempts_of(items: Sequence[Run]) -> dict[str, int]:
    """Run id -> attempts of the step that its error names."""
    failed = {run.pk: (run.error or {}).get("step", "") for run in items}
    rows = StepRun.objects.filter(run__in=list(failed), item=NO_ITEM, step__in=set(failed.values()))
    return {run: n for run, step, n in rows.values_list("run_id", "step", "attempt") if failed[run] == step}


def replay_page(actor: Actor, batch_id: int, status: str, now: float) -> dict[str, Any]:
    """Raises NotFound."""
    batch = replays.visible_replay(actor, batch_id)
    rows = ReplayItem.objects.filter(batch=batch).order_by("pk")
    status = status if status in ReplayItem.Status.values else ""
    items = list((rows.filter(status=status) if status else rows)[:ITEMS])
    became = replays.now_of(items)
    over = batch.done + batch.failed
    left = batch.total - over
    seconds = left * 60.0 / batch.rate if batch.rate else None
    return {
        "batch": batch,
        "items": [(item, looks.of_run(became[item.pk]) if item.pk in became else None) for item in items],
        "most": ITEMS,
        "chosen": status,
        "left": left,
        "over": over,
        "width": round(100 * over / batch.total, 1) if batch.total else 100,
        "seconds": seconds if batch.status == ReplayBatch.Status.RUNNING else None,
        "look": _LOOKS[batch.status],
        "filter": {k: v for k, v in batch.filter.items() if k not in ("ids", "since", "until")},
        "named": len(batch.filter.get("ids", ())),
        "now": now,
    }


_LOOKS: Final = {
    "running": ("running", "Replaying"),
    "done": ("succeeded", "Done"),
    "aborted": ("cancelled", "Aborted"),
}


def quarantine_page(actor: Actor, flow: str, released: bool, now: float) -> dict[str, Any]:
    """The newest inputs that are refused, or were."""
    rows = quarantine.visible(actor).filter(released_at__isnull=not released)
    rows = rows.filter(flow__slug=flow) if flow else rows
    found = list(rows.order_by("-pk")[: ITEMS + 1])
    runs = Run.objects.select_related("release").in_bulk([row.run_id for row in found[:ITEMS]])
    return {
        "rows": [_entry(actor, row, runs.get(row.run_id)) for row in found[:ITEMS]],
        "more": len(found) > ITEMS,
        "most": ITEMS,
        "flow": flow,
        "released": released,
        "now": now,
    }


def entry_page(actor: Actor, pk: int, now: float) -> dict[str, Any]:
    """One input. Raises NotFound."""
    row = quarantine.find(actor, pk)
    run = Run.objects.filter(pk=row.run_id).select_related("release").first()
    return {"entry": _entry(actor, row, run), "now": now}


def _entry(actor: Actor, row: Quarantine, run: Run | None) -> dict[str, Any]:
    """`run`: one that had this input; None where it is gone."""
    veil = of_run(run) if run else NOTHING
    return {
        "row": row,
        "run": run,
        "about": veil.text(about(run.input, plan_of(run.release).input_schema)) if run else "",
        "input": veil.input(run.input) if run else None,
        "operates": quarantine.operates(actor, row),
    }
