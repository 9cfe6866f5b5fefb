"""`python -m orchestra.world --port 0 --data DIR`: serves until SIGTERM or SIGINT; silent but for errors."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
from pathlib import Path

from orchestra.world.ledger import Ledger
from orchestra.world.server import World


async def serve(port: int, ledger: Ledger) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    server = await World(ledger).listen(port)
    try:
        await stopped.wait()
    finally:
        server.close()


def main() -> int:
    """Exit code 2 when the port is taken or the data folder cannot be written."""
    parser = argparse.ArgumentParser(prog="orchestra.world", description="The outside of the demo, in one process.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data", type=Path, help="folder for effects.jsonl; without it nothing is kept")
    options = parser.parse_args()
    try:
        ledger = Ledger(options.data / "effects.jsonl" if options.data else None)
        with contextlib.closing(ledger):
            asyncio.run(serve(options.port, ledger))
    except OSError as error:
        sys.stderr.write(f"The demo world cannot start: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
