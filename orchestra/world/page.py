"""The demo world's page: the table of effects, as plain HTML that refreshes itself."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

NEWEST = 500
STYLE = b"""body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
:root{color-scheme:light dark}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.35rem .6rem;border-bottom:1px solid #8885}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}code{overflow-wrap:anywhere}tr.twice td{font-weight:700}
"""
TOP = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1"><meta http-equiv="refresh" content="2">
<title>Demo world</title><link rel="stylesheet" href="/style.css"></head><body><main><h1>Demo world</h1>
<p>What really happened outside, for each idempotency key. The endpoints under <code>/plain/</code> ignore the key,
so a second effect shows there. Knobs: <code>PUT /knobs</code>.</p>
"""
HEAD = (
    '<table><thead><tr><th scope="col">Kind</th><th scope="col">Key</th>'
    '<th scope="col" class="n">Requests</th><th scope="col" class="n">Applied</th></tr></thead><tbody>'
)


def page(rows: Sequence[dict[str, Any]]) -> bytes:
    """The HTML for the newest rows, newest first; `rows` as `GET /effects` gives them."""
    if not rows:
        return (TOP + "<p>Nothing has happened yet.</p></main></body></html>").encode()
    lines = [
        f"<tr{' class=twice' if row['applied'] > 1 else ''}><td>{escape(row['kind'])}</td>"
        f"<td><code>{escape(row['key']) or '(no key)'}</code></td>"
        f'<td class="n">{row["requests"]}</td><td class="n">{row["applied"]}</td></tr>'
        for row in reversed(rows[-NEWEST:])
    ]
    return (TOP + HEAD + "".join(lines) + "</tbody></table></main></body></html>").encode()
