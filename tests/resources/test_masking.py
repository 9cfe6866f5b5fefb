"""No form of a secret's value gets through, however the text that holds it is cut."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.masking import MASK, Masker, Stream

VALUES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=4, max_size=40).filter(
    lambda text: len(text.strip()) >= 4
)
#: what is around a value: nothing that could go on from it
AROUND = st.sampled_from(["", " ", "\n", "<", "é ", "{\t", "…"])
PEM = "-----BEGIN PRIVATE KEY-----\n" + "\n".join(
    base64.b64encode(bytes((i * 7 + j) % 256 for j in range(48))).decode() for i in range(20)
) + "\n-----END PRIVATE KEY-----\n"  # fmt: skip
FORMS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "base64": lambda v: base64.b64encode(v.encode()).decode().rstrip("="),
    "base64 for URLs": lambda v: base64.urlsafe_b64encode(v.encode()).decode().rstrip("="),
    "hex": lambda v: v.encode().hex(),
    "HEX": lambda v: v.encode().hex().upper(),
    "URL": lambda v: quote(v, safe=""),
    "URL path": quote,
    "form": quote_plus,
    "encodeURIComponent": lambda v: quote(v, safe="!'()*"),
    "JSON": lambda v: json.dumps(v)[1:-1],
    "JSON in UTF-8": lambda v: json.dumps(v, ensure_ascii=False)[1:-1],
    "JSON with \\/": lambda v: json.dumps(v)[1:-1].replace("/", "\\/"),
    "JSON in JSON": lambda v: json.dumps(json.dumps({"v": v}))[10:-4],
    "HTML": html.escape,
    "HTML text": lambda v: html.escape(v, quote=False),
}


def pieces(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return (data[a:b] for a, b in pairwise(places))


def streamed(stream: Stream, parts: Iterator[bytes]) -> bytes:
    return b"".join([*map(stream.feed, parts), stream.close()])


@pytest.mark.parametrize("form", FORMS)
@given(value=VALUES, before=AROUND, after=AROUND, cuts=st.lists(st.integers(0, 500), max_size=8))
def test_no_form_survives_in_any_cutting(form: str, value: str, before: str, after: str, cuts: list[int]) -> None:
    hidden = FORMS[form](value)
    text = f"{before}{hidden}{after}"
    masker = Masker([value])
    whole = masker.text(text)
    assert MASK in whole
    assert hidden not in whole
    assert streamed(masker.stream(), pieces(text.encode(), cuts)).decode() == whole


@given(st.lists(st.text("ab•", min_size=4, max_size=9), min_size=1, max_size=4), st.text("ab•", max_size=80), st.data())
def test_cutting_changes_nothing_even_where_finds_overlap(values: list[str], text: str, data: st.DataObject) -> None:
    masker, encoded = Masker(values), text.encode()
    cuts = data.draw(st.lists(st.integers(0, len(encoded)), max_size=10))
    expected = masker.text(text)
    assert streamed(masker.stream(), pieces(encoded, cuts)).decode() == expected
    stream = masker.text_stream()
    assert "".join([*map(stream.feed, text), stream.close()]) == expected
    for value in values:
        assert value not in expected.split(MASK)


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=6))
def test_bytes_that_hold_no_value_stay_as_they_are(data: bytes, cuts: list[int]) -> None:
    assert streamed(Masker(["correct horse battery"]).stream(), pieces(data, cuts)) == data


def test_a_value_among_bytes_that_are_no_text_is_found() -> None:
    data = b"\xff\xfe\x00correct horse\xc3\x28"
    assert Masker(["correct horse"]).data(data) == b"\xff\xfe\x00" + MASK.encode() + b"\xc3\x28"


@given(st.text(max_size=60), st.lists(st.integers(0, 60), max_size=4))
def test_text_comes_through_whole_whatever_characters_it_has(text: str, cuts: list[int]) -> None:
    stream = Masker(["correct horse battery"]).text_stream()
    places = [0, *sorted(c % (len(text) + 1) for c in cuts), len(text)]
    parts = [text[a:b] for a, b in pairwise(places)]
    assert "".join([*map(stream.feed, parts), stream.close()]) == text


def test_each_longer_line_of_a_key_is_hidden_by_itself() -> None:
    masker = Masker([PEM])
    line = PEM.splitlines()[5]
    for text in (line, f"  {line}  ", base64.b64encode(line.encode()).decode(), json.dumps({"key": PEM}), quote(PEM)):
        assert line not in masker.text(text)
        assert MASK in masker.text(text)
    assert masker.text(PEM.replace("\n", "\r\n")) == f"{MASK}\r\n"
    assert masker.text(PEM.replace("\n", "")).replace(MASK, "").startswith("-----BEGIN PRIVATE KEY-----")
    assert masker.text("-----BEGIN PRIVATE KEY-----") == "-----BEGIN PRIVATE KEY-----"


def test_a_line_of_one_word_is_no_secret_but_the_value_without_its_newline_is() -> None:
    masker = Masker(["user: me\npassword: hunter22\n", "token-1234\n"])
    assert masker.text("me and my token-1234") == f"me and my {MASK}"
    assert masker.text("password: hunter22!") == f"{MASK}!"


def test_a_stream_holds_back_only_what_may_become_a_value() -> None:
    stream = Masker([PEM, "correct horse battery"]).stream()
    assert stream.feed(b"progress 10%\n") == b"progress 10%\n"
    assert stream.feed(b"a corr") == b"a "
    assert stream.feed(b"elation\n") == b"correlation\n"
    assert stream.feed(b"correct horse batter") == b""
    assert stream.feed(b"y") + stream.close() == MASK.encode()


def test_what_is_held_back_is_bounded_though_the_finds_never_end() -> None:
    stream = Masker(["aaaa"]).stream()
    out = [stream.feed(b"a" * 1000) for _ in range(50)]
    assert out[0] == MASK.encode()
    assert b"".join([*out, stream.close()]) == MASK.encode()
    assert len(stream._held) < 4


def test_what_is_larger_than_one_piece_is_masked_across_the_pieces() -> None:
    size = (1 << 18) - 5
    data = b"x" * size + b"correct horse battery" + b"y" * size
    assert Masker(["correct horse battery"]).data(data) == b"x" * size + MASK.encode() + b"y" * size


def test_a_value_learnt_while_a_stream_runs_counts_from_then_on() -> None:
    masker = Masker()
    stream = masker.stream()
    assert stream.feed(b"hunter22 ") == b"hunter22 "
    masker.add("hunter22")
    assert stream.feed(b"hunter22") + stream.close() == MASK.encode()


def test_the_largest_value_is_masked() -> None:
    value = "".join(chr(33 + (i * i + i // 90) % 90) for i in range(65536))
    assert Masker([value]).text(f"<{value}>") == f"<{MASK}>"
