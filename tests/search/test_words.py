"""What a question means, and that nothing in one is ever taken for an operator of a database."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs.search import words
from runs.search.snippets import LENGTH, snippet


@pytest.mark.parametrize(
    ("text", "tsquery", "match"),
    [
        ("release Service", "('release' & 'service':*)", '("release" AND "service" *)'),
        ('"Pay out" now', "(('pay' <-> 'out') & 'now':*)", '("pay out" AND "now" *)'),
        ("release-service", "(('release' <-> 'service':*))", '("release service" *)'),
        ("a -b c", "('a' & !'b' & 'c')", '(("a" AND "c") NOT ("b"))'),
        ("a1 or b1 OR c1", "('a1') | ('b1') | ('c1':*)", '("a1") OR ("b1") OR ("c1" *)'),
        ('foo"bar', "('foo' <-> 'bar')", '"foo bar"'),
        ("Überweisung ÉTÉ", "('uberweisung' & 'ete':*)", '("uberweisung" AND "ete" *)'),
        ("NEAR(a1 b1) AND NOT title:c1*", "('near' <-> 'a1')", '"near a1"'),
        ("x'; DROP TABLE runs_run; --", "'x'", '"drop"'),
    ],
)
def test_a_question_in_the_words_of_both_databases(text: str, tsquery: str, match: str) -> None:
    question = words.read(text)
    assert tsquery in words.tsquery(question)
    assert match in words.match(question)


@pytest.mark.parametrize("text", ["", "   ", "-", '""', "🐊🐊", "-only -excluded", "!!! &&& |", "\0"])
def test_without_a_word_there_is_nothing_to_look_for(text: str) -> None:
    assert not words.read(text)


@pytest.mark.parametrize("text", ["x" * 501, "a " * 33])
def test_a_question_has_a_length(text: str) -> None:
    with pytest.raises(words.TooMuch, match="at most"):
        words.read(text)


@given(st.text(max_size=200))
def test_no_text_puts_anything_but_words_between_the_quotation_marks(text: str) -> None:
    parts = text.split()
    if len(parts) > words.MAX_TERMS or text.count('"') > words.MAX_TERMS:
        return
    try:
        question = words.read(text)
    except words.TooMuch:
        return
    for term in (term for terms in question.alternatives for term in terms):
        assert all(word.isalnum() for word in term.words)


@given(st.text(max_size=400), st.text(max_size=60))
def test_a_snippet_marks_what_is_there_and_is_bounded(body: str, asked: str) -> None:
    terms = words.read(asked[:60]).wanted() if len(asked.split()) < 20 and asked.count('"') < 20 else ()
    found = snippet(body, terms)
    assert len(found.text) <= LENGTH + 4
    assert "".join(piece for piece, _ in found.pieces()) == found.text
    for start, end in found.marks:
        assert 0 <= start < end <= len(found.text)


def test_a_snippet_shows_where_most_of_it_stands() -> None:
    body = "crocodile " + "x " * 300 + "the crocodile ate the ledger " + "y " * 300
    found = snippet(body, words.read("crocodile ledger").wanted())
    assert [piece for piece, marked in found.pieces() if marked] == ["crocodile", "ledger"]
    assert found.text.startswith("… ") and found.text.endswith(" …")


def test_a_vector_names_the_places_of_words_and_the_title_counts_more() -> None:
    assert words.vector("Pay out", "out, Out!") == "'pay':1A 'out':2A,4,5"
    assert "'x':" in words.vector("", "x " * 20_000) and len(words.vector("", "x " * 20_000)) < 1000
