"""What people read on a terminal: widths, words that stay whole, and what is written without a terminal."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from processor.screen import Column, Listing, Screen, wrap
from tests.support.terminal import pretend_terminal

WORDS = st.text(st.characters(categories=("L", "N"), max_codepoint=0x9FFF), min_size=1, max_size=30)
GAPS = st.sampled_from((" ", " ", "  ", "\n", "\n    "))
TEXTS = st.lists(st.tuples(WORDS, GAPS), min_size=1, max_size=12).map(
    lambda parts: "".join(map("".join, parts)).strip()
)


def make_listing(*rows: tuple[str, ...], separated: bool = False) -> Listing:
    """Ids, numbers and texts."""
    columns = (Column("id"), Column("records", is_number=True), Column("meaning", prose=True))
    listing = Listing(columns, separated=separated)
    for row in rows:
        listing.add(*row)
    return listing


ROW = ("loan-repayment-email", "12", "Sent when a repayment is received, in the language of the holder")


def shown(
    listing: Listing, columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """The lines on a terminal of so many columns."""
    pretend_terminal(monkeypatch, columns)
    Screen().listing(listing)
    return capsys.readouterr().out.splitlines()


def test_a_table_where_it_fits(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Names keep their width, prose takes what is left, and is wrapped between words."""
    lines = shown(make_listing(ROW), 61, capsys, monkeypatch)

    assert [
        "│ loan-repayment-email │      12 │ Sent when a repayment is │",
        "│                      │         │ received, in the         │",
        "│                      │         │ language of the holder   │",
    ] == [line for line in lines if line.startswith("│")]
    assert {61} == set(map(len, lines))


def test_a_list_where_no_table_fits(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """An item below the other, each with its name, and what has no text is left out."""
    listing = make_listing(ROW, ("sms", "", "Short"))

    assert [
        "loan-repayment-email",
        "  records  12",
        "  meaning  Sent when a repayment is",
        "           received, in the language of",
        "           the holder",
        "",
        "sms",
        "  meaning  Short",
    ] == shown(listing, 40, capsys, monkeypatch)


def test_columns_without_a_border(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Names alone need no border; what is optional is left out where the terminal is narrower still."""
    listing = Listing((Column("topic"), Column("policy", optional=True), Column("state")))
    listing.add("communications.messages", "compact,delete", "ok")

    assert [
        "topic                    policy          state",
        "communications.messages  compact,delete  ok",
    ] == shown(listing, 48, capsys, monkeypatch)
    assert [
        "topic                    state",
        "communications.messages  ok",
    ] == shown(listing, 40, capsys, monkeypatch)
    assert [
        "communications.messages",
        "  policy",
        "    compact,delete",
        "  state",
        "    ok",
    ] == shown(listing, 25, capsys, monkeypatch)


def test_without_a_terminal_nothing_is_wrapped(capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each row, so that it can be searched for and cut."""
    Screen().listing(make_listing(ROW, ("sms", "3", "Short")))

    assert [
        "id                    records  meaning",
        f"loan-repayment-email       12  {ROW[2]}",
        "sms                         3  Short",
    ] == capsys.readouterr().out.splitlines()


def test_an_empty_list_is_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """No headings without rows."""
    Screen().listing(make_listing())

    assert "" == capsys.readouterr().out


def test_control_characters_reach_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither in a line nor in a list."""
    screen = Screen()
    screen.line("a\x1b[31mb")
    listing = Listing((Column("id"),))
    listing.add("a\x1b[2Jb\x07")
    screen.listing(listing)

    assert "a\ufffd[31mb\nid\na\ufffd[2Jb\ufffd\n" == capsys.readouterr().out


@given(texts=st.lists(TEXTS, min_size=1, max_size=4), columns=st.integers(1, 140), prose=st.booleans())
def test_every_word_stays_whole(texts: list[str], columns: int, prose: bool) -> None:
    """On terminals of any width, in tables and in lists; and a table is never wider than the terminal."""
    listing = Listing((Column("id"), Column("text", prose=prose)))
    for number, text in enumerate(texts):
        listing.add(f"id-{number}", text)
    with pytest.MonkeyPatch.context() as patch, io.StringIO() as written:
        pretend_terminal(patch, columns)
        patch.setattr("sys.stdout", written)
        Screen().listing(listing)
        shown = written.getvalue()

    assert {word for text in texts for word in text.split()} <= set(re.sub("[│┃]", " ", shown).split())
    assert [] == [line for line in shown.splitlines() if "│" in line and cell_len(line) > columns]


@given(text=TEXTS, width=st.integers(10, 100))
def test_wrapping_keeps_words(text: str, width: int) -> None:
    """The words are the same, in their order; a line is longer than the width only where it is one word."""
    lines = wrap(text, width)

    assert text.split() == " ".join(lines).split()
    assert [] == [line for line in lines if cell_len(line) > width and len(line.split()) > 1]
