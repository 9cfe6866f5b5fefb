#!/usr/bin/env python
"""Django's commands; `serve` runs before Django is loaded, so that it can say what is wrong with the environment."""

import gc
import os
import sys


def main() -> int:
    if sys.argv[1:2] == ["serve"]:
        from orchestra.supervisor.run import main as serve

        return serve()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orchestra.settings")
    gc.disable()  # orchestra/gate.py switches it on
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
    return 0


if __name__ == "__main__":
    sys.exit(main())
