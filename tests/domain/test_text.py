"""Texts for people are cut, quoted, and name what was probably meant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.text import closest_match, did_you_mean, quote, truncate, truncate_line


@given(text=st.text(), limit=st.integers(1, 50))
def test_a_truncated_text_fits(text: str, limit: int) -> None:
    """It has at most so many characters, and is the text itself where that fits."""
    cut = truncate(text, limit)

    assert len(cut) <= limit
    assert cut == text or (cut.endswith("…") and text.startswith(cut[:-1]) and len(text) > limit)


def test_a_line_has_single_spaces() -> None:
    """White space of any kind and length is one space, before the text is cut."""
    assert "a b c" == truncate_line(" a\n\tb  c ", 5)
    assert "a b…" == truncate_line("a\nb   cd", 4)


def test_a_quoted_value_shows_control_characters() -> None:
    """A foreign value cannot move the cursor, and what was cut off is outside of the quotes."""
    assert r"'\x1b[2J'" == quote("\x1b[2J")
    assert "'abc'…" == quote("abcd", 3)


@pytest.mark.parametrize(
    ("name", "hint"), [("topcis", "did you mean topics?"), ("zzz", "`--help` lists them"), ("", "`--help` lists them")]
)
def test_a_hint_names_the_nearest(name: str, hint: str) -> None:
    """A misspelt name leads to the nearest, another one to the list."""
    near = closest_match(name, ["topics", "templates"])

    assert hint == did_you_mean(near, otherwise="`--help` lists them")
