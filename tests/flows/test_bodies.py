"""Bodies by their content type: what they hold, and how each kind of nonsense is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.bodies import MAX_FIELDS, MAX_FILES, read
from resources.errors import OrchestraError

MIB = 1024 * 1024
FORM, MULTI = "application/x-www-form-urlencoded", "multipart/form-data; boundary=B"


def part(name: str, value: bytes, more: str = "", kind: str = "") -> bytes:
    head = f'--B\r\nContent-Disposition: form-data; name="{name}"{more}\r\n' + (
        f"Content-Type: {kind}\r\n" if kind else ""
    )
    return head.encode() + b"\r\n" + value + b"\r\n"


END = b"--B--\r\n"


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        ("application/json", b'{"a": [1, "\xc3\xa5"]}', {"a": [1, "å"]}),
        ("", b"[1]", [1]),
        ("application/cloudevents+json; charset=utf-8", b"{}", {}),
        ("application/json", b"", None),
        (FORM, b"a=1&b=%C3%A5+c&a=2&empty=", {"a": ["1", "2"], "b": "å c", "empty": ""}),
        (FORM + "; charset=iso-8859-1", b"a=%E5", {"a": "å"}),
        (FORM, b'payload=%7B"type"%3A"block_actions"%7D', {"type": "block_actions"}),
        (FORM, b"payload=plain", {"payload": "plain"}),
        (FORM, b"payload=%7B%7D&a=1", {"payload": "{}", "a": "1"}),
        ("text/plain", "Blåbær".encode(), "Blåbær"),
        ("text/plain; charset=iso-8859-1", "Blåbær".encode("latin-1"), "Blåbær"),
        ('text/xml; charset="UTF-8"', b"\xef\xbb\xbf<a>1</a>", "<a>1</a>"),
        ("application/soap+xml", b"<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><a>&x;</a>",
         "<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><a>&x;</a>"),
        (MULTI, part("a", "å".encode()) + part("a", b"2") + part("b", b"") + END, {"a": ["å", "2"], "b": ""}),
        ("Multipart/Form-Data; boundary=B", part("a", b"1") + END, {"a": "1"}),
    ],
)  # fmt: skip
def test_what_each_kind_of_body_holds(kind: str, raw: bytes, value: Any) -> None:
    assert read({"content-type": kind} if kind else {}, raw, max_bytes=MIB).value == value


def test_files_are_bytes_with_their_names_and_stay_out_of_the_fields() -> None:
    raw = part("a", b"1") + part("doc", b"\x00\xff", '; filename="../../r\xc3\xa9port.pdf"', "application/pdf") + END
    body = read({"content-type": MULTI}, raw, max_bytes=MIB)
    assert body.value == {"a": "1"}
    (file,) = body.files
    assert (file.field, file.content_type, file.data) == ("doc", "application/pdf", b"\x00\xff")
    assert "/" not in file.name and file.facts()["size"] == 2


@pytest.mark.parametrize(
    ("kind", "raw", "status", "code"),
    [
        ("application/json", b"{", 400, "malformed_body"),
        ("application/json", b"[" * 70 + b"]" * 70, 400, "too_deep"),
        ("application/json", b"[" * 100_000, 400, "too_deep"),
        ("application/json", b"\xff\xfe{", 400, "malformed_body"),
        ("application/json", b"NaN", 400, "malformed_body"),
        ("application/json", b" " * (MIB + 1), 413, "too_large"),
        (MULTI, b" " * (MIB + 1), 413, "too_large"),
        ("application/octet-stream", b"\x00", 415, "unsupported_media_type"),
        ("image/png", b"\x89PNG", 415, "unsupported_media_type"),
        ("nonsense", b"x", 415, "unsupported_media_type"),
        ("text/plain; charset=klingon", b"x", 415, "unsupported_charset"),
        ("text/plain; charset=zlib", b"x", 415, "unsupported_charset"),
        ("text/plain; charset=unicode_escape", b"\\ud800", 415, "unsupported_charset"),
        ("text/plain", b"\xff", 400, "bad_charset"),
        ("text/plain; charset=ascii", "å".encode(), 400, "bad_charset"),
        (FORM, b"a=%FF", 400, "bad_charset"),
        (FORM, b"\xff=1", 400, "bad_charset"),
        (FORM, b"&".join(b"a=%d" % n for n in range(MAX_FIELDS + 1)), 413, "too_large"),
        (FORM, b"payload=%7B", 400, "malformed_body"),
        (FORM, b"payload=" + b"%7B%22a%22%3A" * 80 + b"1" + b"%7D" * 80, 400, "too_deep"),
        ("multipart/form-data", part("a", b"1") + END, 400, "malformed_body"),
        ("multipart/form-data; boundary=\xe5", part("a", b"1") + END, 400, "malformed_body"),
        (MULTI, part("a", b"\xff") + END, 400, "bad_charset"),
        (MULTI, part("a", b"1") + part("a", b"2", '; filename="f"') + END, 400, "malformed_body"),
        (MULTI, b"".join(part("f", b"1", '; filename="f"') for _ in range(MAX_FILES + 1)) + END, 413, "too_large"),
        (MULTI, b"".join(part(f"f{n}", b"") for n in range(MAX_FIELDS + 1)) + END, 413, "too_large"),
    ],
    ids=lambda value: None if isinstance(value, int) else repr(value[:40]),
)
def test_nonsense_is_refused_with_a_code_and_a_sentence(kind: str, raw: bytes, status: int, code: str) -> None:
    with pytest.raises(OrchestraError) as caught:
        read({"content-type": kind}, raw, max_bytes=MIB)
    assert (caught.value.status, caught.value.stable_code) == (status, code)
    assert caught.value.message


@given(
    st.sampled_from(["application/json", FORM, MULTI, "text/plain", "text/plain; charset=utf-16", 'a; charset="'])
    | st.text(max_size=60),
    st.binary(max_size=400),
)
def test_whatever_comes_is_a_value_or_a_refusal(kind: str, raw: bytes) -> None:
    try:
        read({"content-type": kind}, raw, max_bytes=MIB)
    except OrchestraError as error:
        assert 400 <= error.status < 500 and error.message
