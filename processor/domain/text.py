"""Texts for people: cut to a length, in one line, quoted; and the name that a misspelt one probably means."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final
from unicodedata import normalize

QUOTE_LIMIT_CHARACTERS: Final = 40


def truncate(text: str, limit_characters: int) -> str:
    """`text`, or as much of its beginning as leaves room for an ellipsis within `limit_characters`."""
    return text if len(text) <= limit_characters else text[: limit_characters - 1] + "…"


def truncate_line(text: str, limit_characters: int) -> str:
    """`text` in one line, each run of white space a single space; cut as by `truncate`."""
    return truncate(" ".join(text.split()), limit_characters)


def quote(text: str, limit_characters: int = QUOTE_LIMIT_CHARACTERS) -> str:
    """A foreign value for an error text: quoted, control characters escaped; cut after `limit_characters`, where an
    ellipsis follows the closing quote."""
    return repr(text) if len(text) <= limit_characters else f"{text[:limit_characters]!r}…"


def closest_match(name: str, candidates: Iterable[str], *, cutoff: float = 0.6) -> str:
    """The candidate most like `name`; empty when none is at least `cutoff` (0 to 1) like it."""
    return next(iter(get_close_matches(name, list(candidates), n=1, cutoff=cutoff)), "")


def did_you_mean(near: str, *, before: str = "", otherwise: str = "") -> str:
    """The hint that names `near`, after `before`, which joins it to a text; `otherwise` where `near` is empty."""
    return f"{before}did you mean {near}?" if near else otherwise


def nfc(text: str) -> str:
    """`text` in NFC, in which names and words are compared: a letter and its accent are one character, if there is one.

    https://www.unicode.org/reports/tr15/ . Which spelling is typed depends on the keyboard and the system.
    """
    return text if text.isascii() else normalize("NFC", text)
