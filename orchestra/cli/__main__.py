"""`python -m orchestra.cli`: programs for machines that need nothing else of Orchestra."""

from __future__ import annotations

import sys

from orchestra.cli import auth, reveal, runner


def main() -> int:
    if sys.argv[1:2] == ["runner"]:
        return runner.main(sys.argv[2:])
    if sys.argv[1:2] == ["auth"]:
        return auth.main(sys.argv[2:])
    if sys.argv[1:2] == ["reveal"]:
        return reveal.main(sys.argv[2:])
    sys.stderr.write("usage: python -m orchestra.cli (runner|auth|reveal) --help\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
