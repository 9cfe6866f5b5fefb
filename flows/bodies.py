"""What a delivery's body holds, by its content type. Bytes in, plain JSON or a clear refusal out; nothing is stored."""

from __future__ import annotations

import codecs
import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Any, Final
from urllib.parse import parse_qsl

from django.core.files.uploadhandler import MemoryFileUploadHandler

from resources.errors import MalformedBody, TooLarge, UnsupportedMediaType
from resources.jsonio import read_json

MAX_FIELDS: Final = 1000
MAX_FILES: Final = 20
#: Python's names of the charsets that texts may come in
CHARSETS: Final = frozenset({"utf-8", "ascii", "iso8859-1", "iso8859-15", "cp1252", "utf-16"})
#: a form's whole content in one field, as GitHub and Slack send it
PAYLOAD: Final = "payload"
TAKEN: Final = "application/json, application/x-www-form-urlencoded, multipart/form-data, text/… and XML"

Json = Any


@dataclass(frozen=True, slots=True)
class File:
    """One file of a multipart body. It is kept only when a run starts."""

    field: str
    name: str
    content_type: str
    data: bytes

    def facts(self) -> dict[str, Json]:
        """What expressions see of it before it has an address."""
        digest = hashlib.sha256(self.data).hexdigest()
        return {"name": self.name, "size": len(self.data), "sha256": digest, "content_type": self.content_type}


@dataclass(frozen=True, slots=True)
class Body:
    """`value`: JSON; the fields of `files` are not in it."""

    value: Json
    files: tuple[File, ...] = ()


def read(headers: Mapping[str, str], raw: bytes, *, max_bytes: int) -> Body:
    """Raises TooLarge (413), MalformedBody (400), UnsupportedMediaType (415)."""
    if len(raw) > max_bytes:
        raise TooLarge(f"The body has {len(raw)} bytes; {max_bytes} are allowed.", hint="Send less, or a link to it.")
    header = headers.get("content-type") or "application/json"
    kind, charset = _kind(header)
    if kind == "multipart/form-data":
        return _multipart(header, raw)
    if not raw:
        return Body(None)
    if kind == "application/json" or kind.endswith("+json"):
        return Body(read_json(raw, max_bytes=max_bytes))
    if kind == "application/x-www-form-urlencoded":
        return Body(_form(raw, charset, max_bytes))
    if kind.startswith("text/") or kind == "application/xml" or kind.endswith("+xml"):
        return Body(_text(raw, charset))
    raise UnsupportedMediaType(f"A body of the type {kind[:80]!r} cannot be read.", hint=f"Send {TAKEN}.")


def _kind(header: str) -> tuple[str, str]:
    """The media type in small letters, and the charset; utf-8 where none is named."""
    message = Message()
    message["content-type"] = header.replace("\r", " ").replace("\n", " ")
    charset = message.get_param("charset", "utf-8")
    return header.split(";")[0].strip().lower(), charset if isinstance(charset, str) and charset else "utf-8"


def _text(raw: bytes, charset: str) -> str:
    try:
        known = codecs.lookup(charset).name in CHARSETS
    except LookupError:
        known = False
    if not known:
        raise UnsupportedMediaType(
            f"The charset {charset[:40]!r} is not read.", code="unsupported_charset", hint="Send UTF-8."
        )
    try:
        return raw.decode(charset).removeprefix("\ufeff")
    except UnicodeError:
        raise MalformedBody(f"The body is not {charset[:40]}.", code="bad_charset", hint="Send UTF-8.") from None


def _form(raw: bytes, charset: str, max_bytes: int) -> Json:
    text = _text(raw, charset)
    try:
        pairs = parse_qsl(text, keep_blank_values=True, encoding=charset, errors="strict", max_num_fields=MAX_FIELDS)
    except UnicodeDecodeError:
        raise MalformedBody(f"A field of the form is not {charset[:40]}.", code="bad_charset") from None
    except ValueError:
        raise _too_many(f"{MAX_FIELDS} fields") from None
    return _whole(_together(pairs), max_bytes)


def _together(pairs: list[tuple[str, str]]) -> dict[str, Json]:
    """A name that comes once has a text, one that comes again a list of them."""
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def _whole(form: dict[str, Json], max_bytes: int) -> Json:
    """The JSON of a form that is nothing but its field `payload`, else the form itself."""
    text = form.get(PAYLOAD)
    if len(form) == 1 and isinstance(text, str) and text.lstrip().startswith("{"):
        return read_json(text.encode(), max_bytes=max_bytes)
    return form


class _InMemory(MemoryFileUploadHandler):
    """Nothing touches the disk: the whole body is in memory, and bounded."""

    def handle_raw_input(self, *_: Any, **__: Any) -> None:
        self.activated = True


def _multipart(header: str, raw: bytes) -> Body:
    from django.core.exceptions import RequestDataTooBig, SuspiciousOperation, TooManyFieldsSent, TooManyFilesSent
    from django.http.multipartparser import MultiPartParser, MultiPartParserError

    meta = {"CONTENT_TYPE": "multipart/form-data;" + header.partition(";")[2], "CONTENT_LENGTH": len(raw)}
    try:
        fields, uploads = MultiPartParser(meta, io.BytesIO(raw), [_InMemory()], "utf-8").parse()
    except (RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent) as error:
        raise TooLarge(f"The form is too large: {error}") from None
    except (MultiPartParserError, SuspiciousOperation, UnicodeError, ValueError) as error:
        raise MalformedBody(
            f"The body is not multipart/form-data: {error}", hint="Send it with its boundary."
        ) from None
    pairs = [(name, value) for name, values in fields.lists() for value in values]
    found = [(name, upload) for name, uploaded in uploads.lists() for upload in uploaded]
    if len(pairs) > MAX_FIELDS or len(found) > MAX_FILES:
        raise _too_many(f"{MAX_FIELDS} fields and {MAX_FILES} files")
    files = tuple(File(n, (u.name or "")[:200], (u.content_type or "")[:100], u.read()) for n, u in found)
    form = _together(pairs)
    _check_characters(form, files)
    clash = next((file.field for file in files if file.field in form), None)
    if clash is not None:
        raise MalformedBody(f"The field {clash[:80]!r} comes as text and as a file.")
    return Body(form, files)


def _check_characters(form: dict[str, Json], files: tuple[File, ...]) -> None:
    """The parser puts U+FFFD where bytes are no UTF-8; a delivery is not guessed at."""
    said = [*form, *(file.field for file in files), *(file.name for file in files)]
    for value in form.values():
        said += value if isinstance(value, list) else [value]
    if any("\ufffd" in text for text in said):
        raise MalformedBody("A field of the form is not UTF-8.", code="bad_charset", hint="Send UTF-8.")


def _too_many(limit: str) -> TooLarge:
    return TooLarge(f"A form has at most {limit}.", hint="Send less.")
