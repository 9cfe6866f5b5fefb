"""`python -m orchestra.web` takes daphne's arguments."""

from __future__ import annotations

from orchestra.web import alone
from orchestra.web.server import Command

if __name__ == "__main__":
    alone.load("django.test.signals")  # all that ninja wants of django.test, which loads unittest, jinja2 and more
    Command.entrypoint()
