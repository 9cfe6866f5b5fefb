"""What a debug page or a report of an error may show: where it broke, never with what.

Any frame may hold the value of a secret, and a name does not tell: so no variable, no body, no cookie, and no setting
that could be a credential is shown, also with DEBUG.
"""

from __future__ import annotations

import re
from collections.abc import ItemsView
from types import FrameType
from typing import Any

from django.http import HttpRequest
from django.views.debug import SafeExceptionReporterFilter


class NothingShown(SafeExceptionReporterFilter):
    hidden_settings = re.compile(
        "API|AUTH|COOKIE|CREDENTIAL|DATABASE|DSN|KEY|PASS|ROLE_ID|SECRET|SIGNATURE|TOKEN|VAULT|_URL", re.IGNORECASE
    )

    def is_active(self, request: HttpRequest | None) -> bool:
        return True

    def get_post_parameters(self, request: HttpRequest | None) -> dict[str, Any]:
        return dict.fromkeys(request.POST if request is not None else (), self.cleansed_substitute)

    def get_safe_cookies(self, request: HttpRequest | None) -> dict[str, Any]:
        return dict.fromkeys(request.COOKIES if request is not None else (), self.cleansed_substitute)

    def get_traceback_frame_variables(self, request: HttpRequest | None, tb_frame: FrameType) -> ItemsView[str, Any]:
        return dict.fromkeys(tb_frame.f_locals, self.cleansed_substitute).items()
