"""`orchestra reveal`: one sensitive value of a run, for somebody who may see it and says why."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from orchestra.cli.runner import token_of
from orchestra.cli.wire import Away, Said, Server, part


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="orchestra reveal", description="Prints one sensitive value of a run as JSON; the audit log keeps why."
    )
    made.add_argument("--url", required=True, help="address of Orchestra")
    made.add_argument("--token-file", required=True, type=Path, help="file with a token of a user who may reveal")
    made.add_argument("--reason", required=True, help="why you need it")
    made.add_argument("run", help="id of the run")
    made.add_argument("field", help="such as input.card, vars.key or steps.look.output.salary")
    return made


def main(argv: Sequence[str]) -> int:
    """Exit code: 0, 1 for a refusal, 2 for what cannot work."""
    args = parser().parse_args(argv)
    server = Server(args.url, token_of(args, parser()), prefix="/api/v1")
    try:
        body = {"field": args.field, "reason": args.reason}
        found = server.ask("POST", f"/runs/{part(args.run)}/reveal", body)
    except (Said, Away) as error:
        sys.stderr.write(f"{error}\n")
        return 1 if isinstance(error, Said) else 2
    sys.stdout.write(json.dumps(found["value"], indent=2, ensure_ascii=False) + "\n")
    return 0
