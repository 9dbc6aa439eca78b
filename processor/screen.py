"""What people read on a terminal: lines and lists that break no word, so that a name can be copied as it stands.

A list is a table where the terminal is wide enough for it, and one item below the other where it is not. Without a
terminal nothing is wrapped: the rows are lines whose columns stand under each other, and can be searched.
"""

import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.table import Table

_LEAST_PROSE_CHARACTERS: Final = 24  # of a column; a narrower one is hard to read
_BORDER: Final = 3  # characters of a table's column beside its text: two spaces and a line
_INDENT: Final = "  "
_TAB_CHARACTERS: Final = 4
_JOINERS: Final = "\u200c\u200d\u00ad"  # of words in scripts that need them, and the soft hyphen


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a list. Its cells are names, numbers or times, each kept on one line, unless they are `prose`. One
    that is `optional` is left out where a table would not fit otherwise."""

    heading: str
    prose: bool = False
    is_number: bool = False
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """Rows under headings. Of a list that is no table the first column is the name of each item.

    `separated`: rows of a table have lines between them.
    """

    columns: Sequence[Column]
    title: str = ""
    separated: bool = False
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def without_optional(self) -> "Listing":
        """The same without its optional columns."""
        kept = [number for number, column in enumerate(self.columns) if not column.optional]
        rows = [tuple(row[number] for number in kept) for row in self.rows]
        return replace(self, columns=[self.columns[number] for number in kept], rows=rows)

    def add(self, *cells: str) -> None:
        """Add a row: a text for each column, in which what a terminal would obey is replaced."""
        assert len(cells) == len(self.columns), (cells, self.columns)
        self.rows.append(tuple(printable(text).expandtabs(_TAB_CHARACTERS) for text in cells))


def printable(text: str) -> str:
    """`text` without what a terminal would obey: an event may hold anything. Line breaks, tabs and spaces stay."""
    return "".join(character if _is_harmless(character) else "\ufffd" for character in text)


def _is_harmless(character: str) -> bool:
    if character.isprintable() or character in "\n\t" or character in _JOINERS:
        return True
    return unicodedata.category(character) == "Zs"  # a space that does not break, say


class Screen:
    """Stdout, for people. Writes at once; styles on a terminal alone. TTY_COMPATIBLE=1 has a pipe taken for one."""

    def __init__(self) -> None:
        from rich.console import Console

        self.width = shutil.get_terminal_size().columns
        self.is_terminal = sys.stdout.isatty() or os.environ.get("TTY_COMPATIBLE") == "1"
        self.console: Console = Console(width=self.width)  # rich takes 80 for TERM=dumb

    def line(self, text: str, *, hang: int | None = None, whole: bool = False) -> None:
        """Write a line, with its line break; on a terminal wrapped between words, as far in as it begins, or `hang`.

        `whole`: it is not wrapped, as a command or JSON that is copied.
        """
        text = printable(text)
        lines = wrap(text, self.width, hang=hang) if self.is_terminal and not whole else [text]
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()

    def listing(self, listing: Listing) -> None:
        """Write a list; nothing for one without rows."""
        if not listing.rows:
            return
        if listing.title:
            self.line(listing.title)
        if self.is_terminal and (found := _fitting_table(listing, self.width)) is not None:
            self.console.print(found)
        else:
            for line in list_lines(listing, self.width) if self.is_terminal else plain_lines(listing):
                sys.stdout.write(line + "\n")
        sys.stdout.flush()


def wrap(text: str, width: int, *, hang: int | None = None) -> list[str]:
    """`text` in lines of at most `width` characters, broken at spaces only; a longer word has a line of its own.

    What is wrapped goes on where its line begins, or behind `hang` spaces.
    """
    width, lines = max(1, width), []
    for line in text.expandtabs(_TAB_CHARACTERS).split("\n"):
        begin = line[: len(line) - len(line.lstrip(" "))]
        indent = begin if hang is None else " " * min(hang, width // 2)
        words = re.split("( +)", line.strip(" "))  # each second one is the space between two
        row = begin + words[0]
        for space, word in zip(words[1::2], words[2::2], strict=True):
            if _width(row + space + word) > width:
                lines.append(row)
                row = indent + word
            else:
                row += space + word
        lines.append(row.rstrip())
    return lines


def _aligned(rows: Sequence[Sequence[str]], is_number: Sequence[bool]) -> list[str]:
    """Rows as lines whose columns stand under each other, none cut. `is_number`: which columns are to the right."""
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            _pad(text, width, to_right=right) for text, width, right in zip(row, widths, is_number, strict=True)
        ).rstrip()
        for row in rows
    ]


def _width(text: str) -> int:
    """Cells of a terminal that `text` takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _pad(text: str, width: int, *, to_right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if to_right else text + space


# ---------------------------------------------------------------------------------------------------------------------
# As a table


def _fitting_table(listing: Listing, width: int) -> "Table | None":
    """A table that fits; where names alone would, without a border, what is optional is not given up for one."""
    has_prose = any(column.prose for column in listing.columns)
    for shown in (listing, listing.without_optional()) if has_prose else (listing,):
        if (widths := table_widths(shown, width)) is not None:
            return _table(shown, widths)
    return None


def table_widths(listing: Listing, width: int) -> list[int] | None:
    """How wide each column is in a table that fits `width`; None where a name would have to be broken.

    Names are as wide as they are; what is left goes to prose, by how much of it there is.
    """
    by_column = list(_texts_by_column(listing))
    most = [max(map(_longest_line, texts)) for texts in by_column]
    least = [
        max(_longest_word(texts), min(longest, _LEAST_PROSE_CHARACTERS)) if column.prose else longest
        for column, texts, longest in zip(listing.columns, by_column, most, strict=True)
    ]
    spare = width - sum(least) - _BORDER * len(least) - 1
    if spare < 0:
        return None
    wanted = [longest - needed for longest, needed in zip(most, least, strict=True)]
    share = min(1.0, spare / sum(wanted)) if any(wanted) else 0.0
    return [needed + int(want * share) for needed, want in zip(least, wanted, strict=True)]


def _texts_by_column(listing: Listing) -> Iterator[list[str]]:
    for number, column in enumerate(listing.columns):
        yield [column.heading, *(row[number] for row in listing.rows)]


def _longest_line(text: str) -> int:
    return max(map(_width, text.split("\n")))


def _longest_word(texts: Iterable[str]) -> int:
    """The widest word, or begin of a line with its first word."""
    widest = 0
    for line in (line for text in texts for line in text.split("\n")):
        begin = len(line) - len(line.lstrip())
        for number, word in enumerate(line.split()):
            widest = max(widest, _width(word) + (0 if number else begin))
    return widest


def _table(listing: Listing, widths: Sequence[int]) -> "Table":
    from rich.table import Table
    from rich.text import Text

    has_headings = any(column.heading for column in listing.columns)
    table = Table(show_lines=listing.separated, show_header=has_headings)
    for column, width in zip(listing.columns, widths, strict=True):
        justify = "right" if column.is_number else "left"
        table.add_column(Text(column.heading), width=width, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for row in listing.rows:
        table.add_row(*map(Text, row))
    return table


# ---------------------------------------------------------------------------------------------------------------------
# As lines


def plain_lines(listing: Listing) -> Iterator[str]:
    """The lines of a list without a terminal: a line for each row, or for each text of one that has several lines."""
    if any("\n" in text for row in listing.rows for text in row):
        yield from _items(listing, None)
    else:
        yield from _columns(listing)


def list_lines(listing: Listing, width: int) -> Iterator[str]:
    """The lines of a list that fits no table, on a terminal of this width: columns without a border, else items."""
    if not any(column.prose for column in listing.columns):
        for shown in (listing, listing.without_optional()):
            lines = _columns(shown)
            if max(map(_width, lines)) <= width:
                yield from lines
                return
    yield from _items(listing, width)


def _columns(listing: Listing) -> list[str]:
    headings = [tuple(column.heading for column in listing.columns)]
    rows = (headings if any(headings[0]) else []) + listing.rows
    return _aligned(rows, [column.is_number for column in listing.columns])


def _items(listing: Listing, width: int | None) -> Iterator[str]:
    for number, row in enumerate(listing.rows):
        if number:
            yield ""
        yield from _item_lines(listing.columns, row, width)


def _item_lines(columns: Sequence[Column], row: Sequence[str], width: int | None) -> Iterator[str]:
    """The first cell, and below it the others that are not empty, beside their headings."""
    name, *texts = row
    if name:
        yield from name.split("\n")
    headings = [column.heading for column in columns[1:]]
    beside = max(map(len, headings), default=0) + len(_INDENT)
    for heading, text in zip(headings, texts, strict=True):
        if not text:
            continue
        rest = None if width is None else width - len(_INDENT) - beside
        if rest is not None and rest < max(_LEAST_PROSE_CHARACTERS, _longest_word([text])):
            yield f"{_INDENT}{heading}".rstrip()
            lines, margin = wrap(text, (width or 0) - 2 * len(_INDENT)), 2 * _INDENT
        else:
            lines, margin = text.split("\n") if rest is None else wrap(text, rest), _INDENT + " " * beside
            first, *lines = lines
            yield f"{_INDENT}{heading:<{beside}}{first}".rstrip()
        yield from (f"{margin}{line}".rstrip() for line in lines)
