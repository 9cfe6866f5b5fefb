"""`orchestra auth`: people, groups, roles and API tokens from a terminal. One command, one call of the API."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from orchestra.cli.wire import Away, Said, Server, part

Json = Any
Args = argparse.Namespace
#: what a command sends: (method, path, body or None)
Call = tuple[str, str, Json]
_EPILOG: Final = """\
The token is read from --token-file, or from $ORCHESTRA_TOKEN; the address from --url, or from $ORCHESTRA_URL.
Answers are JSON on standard output; a link or a token among them is shown this once.

  orchestra auth status
  orchestra auth token-create ci --scope operator:payments --days 30
  orchestra auth grant reviewer --user nina --folder payments --reason "on call"
  orchestra auth explain start --user nina --folder payments/eu
"""


def _query(**given: Json) -> str:
    told = {key: value for key, value in given.items() if value not in (None, "", False)}
    return "?" + urlencode({k: "true" if v is True else v for k, v in told.items()}) if told else ""


def _do(verb: str) -> Callable[[Args], Call]:
    return lambda a: ("POST", f"/people/{part(a.name)}/{verb}", {"reason": a.reason})


def _member(method: str) -> Callable[[Args], Call]:
    return lambda a: (method, f"/groups/{part(a.group)}/members/{part(a.user)}", None)


def _grant(a: Args) -> Call:
    told = {"role": a.role, "folder": a.folder, "user": a.user, "group": a.group, "reason": a.reason}
    return "POST", "/grants", told


#: name -> (what it does, its arguments, what it sends). An argument with two dashes may be left out.
COMMANDS: Final[Mapping[str, tuple[str, Sequence[str], Callable[[Args], Call]]]] = {
    "status": ("who the token is, and what it may", [], lambda a: ("GET", "/me", None)),
    "sign-out": ("end your sessions in browsers", [], lambda a: ("DELETE", "/me/sessions", None)),
    "tokens": ("your API tokens", ["--others?"], lambda a: ("GET", f"/tokens{_query(others=a.others)}", None)),
    "token-create": (
        "a new token of yours", ["name", "--scope*", "--days#"],
        lambda a: ("POST", "/tokens", {"name": a.name, "scopes": a.scope, "days": a.days}),
    ),
    "token-revoke": ("end a token", ["id#"], lambda a: ("DELETE", f"/tokens/{a.id}", None)),
    "people": (
        "who there is", ["--search", "--cursor"],
        lambda a: ("GET", f"/people{_query(q=a.search, cursor=a.cursor)}", None),
    ),
    "person": ("one of them", ["name"], lambda a: ("GET", f"/people/{part(a.name)}", None)),
    "invite": (
        "a new person, and the link to choose a password", ["name", "--email", "--full-name", "--reason"],
        lambda a: ("POST", "/people", {"name": a.name, "email": a.email, "full_name": a.full_name, "reason": a.reason}),
    ),
    "change": (
        "e-mail and full name", ["name", "--email", "--full-name"],
        lambda a: ("PATCH", f"/people/{part(a.name)}", {"email": a.email, "full_name": a.full_name}),
    ),
    "deactivate": ("end sessions and tokens; nobody signs in as them", ["name", "--reason"], _do("deactivate")),
    "reactivate": ("let them sign in again", ["name", "--reason"], _do("reactivate")),
    "reset": ("end their password; a link to choose another", ["name", "--reason"], _do("reset")),
    "sign-out-person": (
        "end their sessions", ["name", "--reason", "--tokens?"],
        lambda a: ("POST", f"/people/{part(a.name)}/sign-out", {"reason": a.reason, "tokens": a.tokens}),
    ),
    "groups": ("groups, members, roles", [], lambda a: ("GET", "/groups", None)),
    "group-create": ("a new group", ["group"], lambda a: ("POST", "/groups", {"name": a.group})),
    "group-delete": (
        "delete a group", ["group", "--reason"],
        lambda a: ("DELETE", f"/groups/{part(a.group)}{_query(reason=a.reason)}", None),
    ),
    "group-add": ("put a person into a group", ["group", "user"], _member("PUT")),
    "group-remove": ("take a person out of a group", ["group", "user"], _member("DELETE")),
    "grants": ("roles that were given", ["--cursor"], lambda a: ("GET", f"/grants{_query(cursor=a.cursor)}", None)),
    "grant": ("give a role", ["role", "--folder", "--user~", "--group~", "--reason"], _grant),
    "revoke": (
        "take a given role back", ["id#", "--reason"],
        lambda a: ("DELETE", f"/grants/{a.id}{_query(reason=a.reason)}", None),
    ),
    "access": (
        "who may do what on a folder", ["--folder"], lambda a: ("GET", f"/access{_query(folder=a.folder)}", None)
    ),
    "explain": (
        "may somebody do something, and why", ["action", "--user~", "--folder"],
        lambda a: ("GET", f"/access/explain{_query(action=a.action, user=a.user, folder=a.folder)}", None),
    ),
}  # fmt: skip
#: the last character of an argument -> how it is read; without one: a text, "" where it is left out
_KINDS: Final[Mapping[str, Mapping[str, Json]]] = {
    "?": {"action": "store_true"}, "*": {"action": "append", "default": []}, "#": {"type": int}, "~": {"default": None},
}  # fmt: skip


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="orchestra auth", description="People, groups, roles and API tokens.", epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    made.add_argument("--url", default=os.environ.get("ORCHESTRA_URL", ""), help="address of Orchestra")
    made.add_argument("--token-file", type=Path, help="file with an API token")
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (does, arguments, _) in COMMANDS.items():
        command = commands.add_parser(name, help=does, description=does)
        for argument in arguments:
            kind = _KINDS.get(argument[-1], {"default": ""} if argument.startswith("--") else {})
            command.add_argument(argument.rstrip("?*#~"), **kind)
    return made


def _token(args: Args) -> str:
    if args.token_file is not None:
        return str(args.token_file.read_text(encoding="utf-8").strip())
    return os.environ.get("ORCHESTRA_TOKEN", "").strip()


def main(argv: Sequence[str]) -> int:
    """0: done; 1: Orchestra said no, or is not there; 2: the command makes no sense."""
    args = parser().parse_args(argv)
    try:
        token = _token(args)
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if not token or not args.url:
        sys.stderr.write("Give --url and --token-file, or set ORCHESTRA_URL and ORCHESTRA_TOKEN.\n")
        return 2
    method, path, body = COMMANDS[args.command][2](args)
    try:
        answer = Server(args.url, token, prefix="/api/v1").ask(method, path, body)
    except (Away, Said) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if answer is not None:
        sys.stdout.write(json.dumps(answer, indent=2, ensure_ascii=False) + "\n")
    return 0
