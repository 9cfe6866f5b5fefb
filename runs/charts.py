"""Numbers -> geometry of server-rendered SVG. Pure; all in units of the viewBox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

OK, FAIL, OFF = "succeeded", ("failed", "timed_out"), "cancelled"


def histogram(
    found: Mapping[tuple[int, str], int], buckets: int, *, width: float = 1200, base: float = 54
) -> dict[str, Any]:
    """Outcomes as bars: succeeded stand on the line with cancelled above, failures hang below it."""
    totals = {"ok": _total(found, OK), "fail": _total(found, *FAIL), "off": _total(found, OFF)}
    most = max([1, *(found.get((b, OK), 0) + found.get((b, OFF), 0) for b in range(buckets))])
    unit, slot = (base - 6) / most, width / buckets
    bars: list[dict[str, Any]] = []
    for b in range(buckets):
        x, w = b * slot + slot * 0.07, slot * 0.86
        ok, off = found.get((b, OK), 0), found.get((b, OFF), 0)
        fail = sum(found.get((b, s), 0) for s in FAIL)
        if ok:
            bars.append(_rect("ok", x, base - ok * unit, w, ok * unit))
        if off:
            bars.append(_rect("off", x, base - ok * unit - off * unit - 1.5, w, max(off * unit, 3)))
        if fail:
            bars.append(_rect("fail", x, base + 2, w, min(16.0, max(5.0, fail * unit))))
    return {"bars": bars, "totals": totals, "base": base, "empty": not bars}


def _total(found: Mapping[tuple[int, str], int], *statuses: str) -> int:
    return sum(n for (_, s), n in found.items() if s in statuses)


def _rect(css: str, x: float, y: float, w: float, h: float) -> dict[str, Any]:
    return {"css": css, "x": f"{x:.1f}", "y": f"{y:.1f}", "w": f"{w:.1f}", "h": f"{h:.1f}"}


def bars(values: Sequence[int], *, width: float = 300, height: float = 72) -> list[dict[str, Any]]:
    """One bar a value; the last is still growing and drawn so."""
    most, slot = max([1, *values]), width / max(1, len(values))
    out = []
    for n, value in enumerate(values):
        h = value / most * (height - 8)
        css = "off" if n == len(values) - 1 else "ok"
        if value:
            out.append(_rect(css, n * slot + slot * 0.1, height - max(h, 1.5), slot * 0.8, max(h, 1.5)))
    return out


def line(
    values: Sequence[float | None], *, top: float, width: float = 300, height: float = 72
) -> dict[str, str] | None:
    """{line, area} as path data; gaps are bridged; None with fewer than two values. `top` is the value at the top."""
    points = [(n, v) for n, v in enumerate(values) if v is not None]
    if len(points) < 2:
        return None
    slot = width / max(1, len(values) - 1)
    spots = [(n * slot, height - 4 - min(1.0, v / (top or 1)) * (height - 12)) for n, v in points]
    path = "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in spots)
    return {"line": path, "area": f"{path} L{spots[-1][0]:.1f} {height} L{spots[0][0]:.1f} {height}Z"}


def strip(states: Sequence[str]) -> list[dict[str, str]]:
    """One block a step, in percent; a step that is not reached has no state."""
    if not states:
        return []
    slot = 100 / len(states)
    gap = min(1.6, slot * 0.15)
    return [
        {"x": f"{n * slot:.2f}%", "width": f"{slot - gap:.2f}%", "state": "" if s in ("queued", "skipped") else s}
        for n, s in enumerate(states)
    ]
