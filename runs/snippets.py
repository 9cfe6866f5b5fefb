"""Lines that answer a wait, ready to be copied: for a shell, Python and JavaScript. Pure."""

from __future__ import annotations

import json
import shlex
from typing import Any, Final

#: {label: language} in the order they are shown
Snippets = dict[str, str]
SIGNED_SHELL: Final = """\
body='{{}}'; id=msg_$(date +%s); at=$(date +%s)
key=$(printf %s "${{WEBHOOK_SECRET#whsec_}}" | base64 -d | od -An -v -tx1 | tr -d ' \\n')
mark=$(printf %s "$id.$at.$body" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | base64)
curl -X POST {url} -H 'Content-Type: application/json' \\
  -H "webhook-id: $id" -H "webhook-timestamp: $at" -H "webhook-signature: v1,$mark" -d "$body"
"""
SIGNED_PYTHON: Final = """\
import base64, hashlib, hmac, os, time, urllib.request, uuid
body, id, at = b"{{}}", f"msg_{{uuid.uuid4().hex}}", int(time.time())
key = base64.b64decode(os.environ["WEBHOOK_SECRET"].removeprefix("whsec_"))
mark = base64.b64encode(hmac.new(key, f"{{id}}.{{at}}.".encode() + body, hashlib.sha256).digest()).decode()
headers = {{"Content-Type": "application/json", "webhook-id": id, "webhook-timestamp": str(at),
           "webhook-signature": f"v1,{{mark}}"}}
urllib.request.urlopen(urllib.request.Request({url}, body, headers))
"""
SIGNED_JAVASCRIPT: Final = """\
import {{ createHmac, randomUUID }} from "node:crypto";
const body = "{{}}", id = `msg_${{randomUUID()}}`, at = Math.floor(Date.now() / 1000);
const key = Buffer.from(process.env.WEBHOOK_SECRET.replace(/^whsec_/, ""), "base64");
const mark = createHmac("sha256", key).update(`${{id}}.${{at}}.${{body}}`).digest("base64");
const headers = {{ "Content-Type": "application/json", "webhook-id": id, "webhook-timestamp": `${{at}}`,
  "webhook-signature": `v1,${{mark}}` }};
await fetch({url}, {{ method: "POST", headers, body }});
"""
PYTHON: Final = """\
import json, urllib.request
headers = {{"Content-Type": "application/json"}}
urllib.request.urlopen(urllib.request.Request({url}, json.dumps({{}}).encode(), headers))
"""
JAVASCRIPT: Final = """\
await fetch({url}, {{
  method: "POST", headers: {{ "Content-Type": "application/json" }}, body: JSON.stringify({{}}),
}});
"""
EVENT_SHELL: Final = """\
curl -X POST {url} -H "Authorization: Bearer $ORCHESTRA_TOKEN" \\
  -H 'Content-Type: application/json' -d {data}
"""
EVENT_PYTHON: Final = """\
import json, os, urllib.request, uuid
event = {{**json.loads({data}), "id": str(uuid.uuid4())}}
headers = {{"Content-Type": "application/json", "Authorization": f"Bearer {{os.environ['ORCHESTRA_TOKEN']}}"}}
urllib.request.urlopen(urllib.request.Request({url}, json.dumps(event).encode(), headers))
"""
EVENT_JAVASCRIPT: Final = """\
const event = {{ ...{data}, id: crypto.randomUUID() }};
const headers = {{ "Content-Type": "application/json", Authorization: `Bearer ${{process.env.ORCHESTRA_TOKEN}}` }};
await fetch({url}, {{ method: "POST", headers, body: JSON.stringify(event) }});
"""


def of_callback(url: str, *, signed: bool) -> Snippets:
    """`signed`: with the secret in the environment variable WEBHOOK_SECRET."""
    text = json.dumps(url)
    if signed:
        return {
            "Shell": SIGNED_SHELL.format(url=shlex.quote(url)),
            "Python": SIGNED_PYTHON.format(url=text),
            "JavaScript": SIGNED_JAVASCRIPT.format(url=text),
        }
    shell = f"curl -X POST {shlex.quote(url)} -H 'Content-Type: application/json' -d '{{}}'\n"
    return {"Shell": shell, "Python": PYTHON.format(url=text), "JavaScript": JAVASCRIPT.format(url=text)}


def of_event(base_url: str, name: str, folder: str) -> Snippets:
    """With a token of somebody who operates the folder in the environment variable ORCHESTRA_TOKEN."""
    event: dict[str, Any] = {"name": name, "id": "my-id-1", "folder": folder, "body": {}}
    url, data = f"{base_url}/api/v1/events", json.dumps(event)
    return {
        "Shell": EVENT_SHELL.format(url=shlex.quote(url), data=shlex.quote(data)),
        "Python": EVENT_PYTHON.format(url=json.dumps(url), data=repr(data)),
        "JavaScript": EVENT_JAVASCRIPT.format(url=json.dumps(url), data=data),
    }
