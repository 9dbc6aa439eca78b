"""Where in a TOML file its keys and texts stand, as tomllib gives no positions. Pure."""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_KEY_LIMIT_CHARACTERS: Final = 1000  # how far into a line a key or header is looked for
_HEADER: Final = re.compile(r"\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(#.*)?$")
_PART: Final = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_ASSIGNMENT: Final = re.compile(rf"\s*({_PART}(?:\s*\.\s*{_PART})*)\s*=(.*)$")
_ESCAPE: Final = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|([\"\\]))")


@dataclass(frozen=True, slots=True)
class TomlSource:
    """The text of a file, and the same without TOML's escapes, but for those of line breaks. `lines` is the line of
    each key and table, from 1."""

    text: str
    unescaped: str
    lines: Mapping[str, int]

    def line_of(self, key: str, excerpt: str = "") -> int | None:
        """The line of `key`, else of what it is in; with an excerpt the first line at or below it that has that.

        None when neither is found.
        """
        while key not in self.lines and "." in key:
            key = key.rpartition(".")[0]
        line = self.lines.get(key)
        return self._line_of_excerpt(excerpt, line) if excerpt else line

    def _line_of_excerpt(self, excerpt: str, line: int | None) -> int | None:
        """The first line at or below `line` that has `excerpt`, as it is or with TOML's escapes; else `line`."""
        start = (line or 1) - 1
        for source, written in (
            (self.text, excerpt),
            (self.unescaped, excerpt),
            (self.unescaped, excerpt.replace("\n", "\\n")),
        ):
            text = "\n".join(source.split("\n")[start:])
            if (at := text.find(written)) >= 0:
                return start + 1 + text.count("\n", 0, at)
        return line


def toml_source(text: str) -> TomlSource:
    """The source of a file that is TOML."""
    return TomlSource(text, _ESCAPE.sub(_unescape, text), line_numbers(text))


def line_numbers(source: str) -> dict[str, int]:
    """Where each key and table stands: `body`, `locale.pt.subject`, `sample.0.expected.body` -> line, from 1.

    This reads what templates are made of (tables, dotted keys, strings over several lines); a key it does not see has
    no line.
    """
    lines: dict[str, int] = {}
    arrays: dict[str, int] = {}
    table, closing = "", ""
    for number, line in enumerate(source.split("\n"), start=1):
        if closing:
            closing = "" if closing in line else closing
            continue
        if match := _HEADER.match(line[:_KEY_LIMIT_CHARACTERS]):
            table = ".".join(_key_parts(match[2]))
            if match[1] == "[[":
                lines.setdefault(table, number)
                arrays[table] = arrays.get(table, -1) + 1
                table = f"{table}.{arrays[table]}"
            lines.setdefault(table, number)
            table += "."
        elif match := _ASSIGNMENT.match(line[:_KEY_LIMIT_CHARACTERS]):
            lines.setdefault(table + ".".join(_key_parts(match[1])), number)
            value = line[match.start(2) :]
            opening = re.match(r"""\s*("{3}|'{3})""", value)
            if opening and opening[1] not in value[opening.end() :]:
                closing = opening[1]
    return lines


def _unescape(match: re.Match[str]) -> str:
    """A character that TOML has escaped; a line break stays so, as the lines are counted."""
    code = int(match[1] or match[2] or f"{ord(match[3]):x}", 16)
    return match.group() if code == 0x0A or code > sys.maxunicode else chr(code)


def _key_parts(key: str) -> list[str]:
    return [part.strip("\"'") for part in re.findall(_PART, key)]
