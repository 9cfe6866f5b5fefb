"""Make the search index anew."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from runs.search import rebuilding


class Command(BaseCommand):
    help = (
        "Index everything anew, for the search. While it runs, everything works and what is indexed is found; broken "
        "off, it is begun again."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        for kind, count in rebuilding.rebuild():
            self.stdout.write(f"{kind}s: {count}")
