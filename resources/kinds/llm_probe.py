"""Trying a connection to language models: it lists its models, which costs nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import httpx2

from resources.connections import ConnectionRef
from resources.errors import OrchestraError
from resources.http_auth import exchange
from resources.http_client import http_client
from resources.kinds.llm import LlmSettings
from resources.masking import Masker
from resources.probe import Tested

_SECONDS = 5.0
_MAX_BYTES = 1024 * 1024


def probe(ref: ConnectionRef) -> Tested:
    """GET <address>/models, at most 5 seconds."""
    settings, masker = ref.settings, Masker()
    assert isinstance(settings, LlmSettings)  # noqa: S101  its kind says so
    through = replace(ref, settings=settings.as_http())
    client = http_client(through)
    try:
        request = client.build_request("GET", f"{settings.address}/models")
        answer = exchange(through, client, request, timeout=_SECONDS, max_bytes=_MAX_BYTES, masker=masker)
    except OrchestraError as error:
        return Tested(False, masker.text(f"{error.message} {error.hint}".strip()))
    except httpx2.TimeoutException:
        return Tested(False, f"No answer from {settings.address} within {_SECONDS:g} s.")
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        return Tested(False, masker.text(f"{settings.address} was not reached: {str(error) or type(error).__name__}"))
    if answer.status in (401, 403):
        return Tested(False, f"Answered {answer.status}: it is reached, but the key is refused. Look at the secret.")
    if answer.status == 404:
        return Tested(True, "It is reached; it does not list its models, so that the key was not tried.")
    if answer.status != 200:
        return Tested(False, f"Answered {answer.status} instead of a list of models.")
    return _found(answer.body, settings.model)


def _found(body: bytes, wanted: str) -> Tested:
    try:
        names = [str(row["id"]) for row in json.loads(body)["data"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        return Tested(False, "It is reached, but its answer is no list of models. Is the address right?")
    if wanted and wanted not in names:
        return Tested(False, f"It has {len(names)} models, but none called {wanted}.")
    return Tested(True, f"It is reached and has {len(names)} models.")
