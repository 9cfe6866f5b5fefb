"""Values in the environment of the process that uses them."""

from __future__ import annotations

import os

from resources.backends.errors import Refused
from resources.backends.locators import EnvLocator


def read(locator: EnvLocator) -> str:
    """Raises Refused."""
    value = os.environ.get(locator.variable)
    if not value:
        raise Refused(
            f"The environment has no {locator.variable}.",
            hint="Set it for the web process and for all workers, and restart them.",
        )
    return value
