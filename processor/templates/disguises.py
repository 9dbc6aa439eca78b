"""Text that looks like a placeholder and is none: rule T21. Pure.

E-mail editors, browsers and word processors write braces encoded, put markup, line breaks and invisible characters
into a name, or take other braces and letters; authors spell a name as other systems do. Such a piece would be mailed
as it stands. It counts only when what it comes to is a placeholder's name or a custom field, so the braces of JSON,
CSS and scripts are ignored.
"""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from unicodedata import category, normalize
from urllib.parse import unquote

from processor.domain.placeholders import ENTITIES, PLACEHOLDERS

DISGUISE_LIMIT_CHARACTERS: Final = 2_000  # between two braces; markup that an editor puts around a name has hundreds
_MAX_DECODING_ROUNDS: Final = 3  # as in an address within an attribute within JSON
_LOOK_BACK_CHARACTERS: Final = 80


@dataclass(frozen=True, slots=True)
class Disguise:
    """One piece of a text: `token` is how it is written, `meant` how it has to be.

    `name` is the placeholder's, None for a custom field. `doubled`: it has double braces.
    """

    token: str
    meant: str
    name: str | None
    doubled: bool = False


# -------------------------------------------------------------------------------------------------------------- braces

# Plain, full width, small, vertical, as an ornament, white.
_OPEN: Final = "{｛﹛︷❴⦃"
_CLOSE: Final = "}｝﹜︸❵⦄"


def _any_spelling(signs: str, entities: str) -> str:
    """An expression for one of `signs` in any way that programs write it. Case is to be ignored."""
    numbers = "".join(f"|#0*{ord(sign)}(?![0-9])|#x0*{ord(sign):x}(?![0-9a-f])" for sign in signs)
    percent = ("".join(f"%(?:25)*{byte:02x}" for byte in sign.encode()) for sign in signs)
    escaped = (rf"\\u{ord(sign):04x}" for sign in signs)
    # Of the plain one also as CSS, scripts and quoted-printable have it.
    plain = (rf"\\x?{ord(signs[0]):02x}", f"={ord(signs[0]):02x}")
    return "|".join((f"[{signs}]", *percent, f"&(?:amp;)*(?:{entities}{numbers});?", *escaped, *plain))


_MARK: Final = re.compile(
    f"(?P<open>{_any_spelling(_OPEN, 'lbrace|lcub')})|(?P<close>{_any_spelling(_CLOSE, 'rbrace|rcub')})", re.IGNORECASE
)

# What stands for braces elsewhere. It counts with names of several words, without blanks, alone.
_OTHER_MARKS: Final = re.compile(
    r"(?:\[\[|(?:<|&lt;){2}|(?:<|&lt;)%[=-]?|«|&laquo;|\*\|)\s{0,3}"
    r"(?P<any>[A-Za-z][A-Za-z0-9_.-]{4,60}?)"
    r"\s{0,3}(?:\]\]|(?:>|&gt;){2}|%(?:>|&gt;)|»|&raquo;|\|\*)"
    r"|%(?P<percent>[A-Z][A-Z0-9]{0,30}_[A-Z0-9_]{1,60})%"
)
_CALLED: Final = re.compile(r"\b(FORMAT(?:_DATE)?)\s{0,3}[(\[]\s{0,3}([A-Z][A-Z0-9_]{0,60})\s{0,3},", re.IGNORECASE)
_FUNCTION: Final = re.compile(r"\bFORMAT(?:_DATE)?\s{0,5}\Z", re.IGNORECASE)
_NAME_AT_START: Final = re.compile(r"\s{0,5}([A-Z][A-Z0-9_]{0,60})(?![A-Za-z0-9_])(?!\s{0,5}[:=])")
_CUSTOM_FIELD_AT_START: Final = re.compile(r"\s{0,5}CF:[^\s:{}]{1,60}")
_NAME_AT_END: Final = re.compile(r"(?<![A-Za-z0-9_])([A-Z][A-Z0-9]{0,30}_[A-Z0-9_]{1,60})\s{0,5}\Z")


def find_disguises(text: str) -> Iterator[Disguise]:
    """All of `text`, which holds no placeholder itself. In a time linear in its length.

    Each stretch between two braces is looked at once: for a name that it spells, or for one whose other brace is
    missing.
    """
    before: re.Match[str] | None = None
    last: re.Match[str] | None = None
    for mark in _MARK.finditer(text):
        is_open = last is not None and last.lastgroup == "open"
        if mark.lastgroup == "open":
            found = _after_opening_brace(text, last, mark.start()) if last is not None and is_open else None
        elif last is not None and is_open:
            found = _between_braces(text, before, last, mark) or _after_opening_brace(
                text, last, mark.start(), is_closed=True
            )
        else:
            found = _before_closing_brace(text, mark, 0 if last is None else last.end())
        if found is not None:
            yield found
        before, last = last, mark
    if last is not None and last.lastgroup == "open" and (found := _after_opening_brace(text, last, len(text))):
        yield found
    for match in _OTHER_MARKS.finditer(text):
        name = _placeholder_name(match["any"] or match["percent"])
        if name is not None and "_" in name:
            yield Disguise(match.group(), f"{{{name}}}", name)
    for match in _CALLED.finditer(text):
        if (name := _placeholder_name(match[2])) is not None:
            yield Disguise(match.group(), f"{match[1].upper()}{{{name},…}}", name)


def _between_braces(
    text: str, before: re.Match[str] | None, opening: re.Match[str], closing: re.Match[str]
) -> Disguise | None:
    """What the text between two braces spells. `before` is the brace in front of `opening`."""
    inner = text[opening.end() : closing.start()]
    if len(inner) > DISGUISE_LIMIT_CHARACTERS:
        return None
    if opening.group().startswith("="):
        inner = _QUOTED_PRINTABLE.sub(lambda match: chr(int(match[1], 16)), inner)
    plain = _decode(inner)
    name, custom = _placeholder_name(plain), _custom_field_name(plain)
    if name is None and custom is None:
        return _format_disguise(text, opening, closing, plain)
    meant = name or f"CF:{custom}"
    after = _MARK.match(text, closing.end())
    if (
        before is not None
        and before.lastgroup == "open"
        and before.end() == opening.start()
        and after is not None
        and after.lastgroup == "close"
    ):
        return Disguise(text[before.start() : after.end()], f"{{{meant}}}", name, doubled=True)
    return Disguise(text[opening.start() : closing.end()], f"{{{meant}}}", name)


def _format_disguise(text: str, opening: re.Match[str], closing: re.Match[str], plain: str) -> Disguise | None:
    """`FORMAT {NAME,numericPattern=…}` and its kind: the function is missing, apart, or in small letters."""
    head, _, rest = plain.partition(",")
    key, equals, pattern = rest.partition("=")
    key = _fold_letters(key).strip()
    if not equals or not key.endswith("PATTERN") or (name := _placeholder_name(head)) is None:
        return None
    function = _FUNCTION.search(text, max(opening.start() - _LOOK_BACK_CHARACTERS, 0), opening.start())
    start = opening.start() if function is None else function.start()
    meant = "FORMAT_DATE{%s,datePattern=%s}" if key.startswith("DATE") else "FORMAT{%s,numericPattern=%s}"
    return Disguise(text[start : closing.end()], meant % (name, pattern.strip()), name)


def _after_opening_brace(text: str, opening: re.Match[str], end: int, *, is_closed: bool = False) -> Disguise | None:
    """A name right behind a brace that goes on otherwise. `is_closed`: a brace is at `end`: only a long name counts."""
    if custom := _CUSTOM_FIELD_AT_START.match(text, opening.end(), end):
        return Disguise(text[opening.start() : custom.end()], "{CF:FIELD}", None)
    found = _NAME_AT_START.match(text, opening.end(), end)
    if found is None or found[1] not in _NAMES or (is_closed and "_" not in found[1]):
        return None
    function = _FUNCTION.search(text, max(opening.start() - _LOOK_BACK_CHARACTERS, 0), opening.start())
    if function is None:
        return Disguise(text[opening.start() : found.end()], f"{{{found[1]}}}", found[1])
    meant = f"{function.group().strip().upper()}{{{found[1]},…}}"
    return Disguise(text[function.start() : found.end()], meant, found[1])


def _before_closing_brace(text: str, closing: re.Match[str], start: int) -> Disguise | None:
    """A name right in front of a brace that nothing opens."""
    start = max(start, closing.start() - _LOOK_BACK_CHARACTERS)
    found = _NAME_AT_END.search(text, start, closing.start())
    if found is None or found[1] not in _NAMES:
        return None
    return Disguise(text[found.start() : closing.end()], f"{{{found[1]}}}", found[1])


def normalize_field(field: str) -> str:
    """How a field of conditions and recipients is written, `ACCOUNT_ID` or `CF:CLIENT:Segment`, whatever disguises it.

    Empty when it is neither. Braces around it are taken off.
    """
    start, end = 0, len(field)
    for mark in _MARK.finditer(field):
        if mark.lastgroup == "open" and not field[start : mark.start()].strip():
            start = mark.end()
        elif mark.lastgroup == "close":
            end = mark.start()
            break
    plain = _decode(field[start:end][:DISGUISE_LIMIT_CHARACTERS])
    custom = _custom_field_name(plain)
    return f"CF:{custom}" if custom is not None else _placeholder_name(plain) or ""


def normalize_custom_field(field: str) -> str | None:
    """What stands after `CF:`, spelt as events have it: `ENTITY:FIELD` without what cannot be seen or is encoded."""
    return _custom_field_name(_decode(f"CF:{field[:DISGUISE_LIMIT_CHARACTERS]}"))


# --------------------------------------------------------------------------------------------------------------- names

_NAMES: Final = frozenset(row.name for row in PLACEHOLDERS)
_BY_SPELLING: Final = {name.replace("_", ""): name for name in _NAMES}
_ENTITY_BY_SPELLING: Final = {entity.replace("_", ""): entity for entity in ENTITIES}

# Letters of other alphabets that look like those of names (UTS #39, confusables): Cyrillic and Greek, as people have
# them on their keyboards. First the small ones that do not look like what their capitals look like.
_SMALL: Final = str.maketrans("νυγωнвткмѵ", "vuywhbtkmv")
_CAPITAL: Final = str.maketrans(
    "АВСЕНІЈКМОРЅТУҮХԌԚԜӀѴҺԀΑΒΕΖΗΙΚΜΝΟΡΤΥΧϹϳϲ‐‒–—―−·‿",
    "ABCEHIJKMOPSTYYXGQWIVHDABEZHIKMNOPTYXCJC------._",
)
_COLONS: Final = str.maketrans("：﹕꞉∶ː", ":::::")
_CORE: Final = re.compile("[A-Z0-9](?:.*[A-Z0-9])?", re.DOTALL)
_SPELLING: Final = re.compile(r"[A-Z0-9 _.-]+")
_SEPARATORS: Final = str.maketrans("", "", " _.-")
_OF_CODE: Final = frozenset(";,()[]")


def _placeholder_name(plain: str) -> str | None:
    """The placeholder that the text between two braces spells, as any language and keyboard would spell it.

    Around the name signs may stand, but none that makes code or data of it: a colon or an equals sign with more
    behind it, and with a name in small letters those of scripts.
    """
    folded = _fold_letters(plain)
    core = _CORE.search(folded)
    if core is None or not _SPELLING.fullmatch(core.group()):
        return None
    name = _BY_SPELLING.get(core.group().translate(_SEPARATORS))
    around = folded[: core.start()].strip(), folded[core.end() :].strip()
    if name is None:
        return None if any(around) else _name_with_a_letter(plain.strip())
    if not any(around):
        return name
    if any(sign.isalnum() for sign in "".join(around)) or any(set(":=") & set(part[:-1]) for part in around):
        return None
    if plain != plain.upper() and ("_" not in name or _OF_CODE & set("".join(around))):
        return None
    return name


def _name_with_a_letter(typed: str) -> str | None:
    """The name of `{ACCOUNT_IDs}`: in capitals, with one small letter before or behind it."""
    for letter, rest in ((typed[:1], typed[1:]), (typed[-1:], typed[:-1])):
        if letter.islower() and "_" in rest and rest in _NAMES:
            return rest
    return None


def _custom_field_name(plain: str) -> str | None:
    """What stands after `CF:` in the text between two braces: FIELD, ENTITY:FIELD or ENTITY:FIELD:INDEX."""
    head, _, rest = plain.translate(_COLONS).partition(":")
    if not rest.strip() or _fold_letters(head).strip(" $#.@!%*_-") != "CF":
        return None
    first, *more = (part.strip() for part in rest.split(":"))
    entity = _ENTITY_BY_SPELLING.get(_fold_letters(first).translate(_SEPARATORS)) if more else None
    # `{cf: page 5}` is a reference to a book.
    if "CF" not in head and entity is None and not rest[0].isalpha():
        return None
    return ":".join((entity or first, *more))


def _fold_letters(text: str) -> str:
    """`text` in capitals, each letter as the one of A to Z that it looks like or comes from."""
    if not text.isascii():
        text = "".join(sign for sign in normalize("NFKD", text) if category(sign) not in ("Mn", "Cf"))
    return text.translate(_SMALL).upper().translate(_CAPITAL)


# -------------------------------------------------------------------------------------------------- what a reader sees

_QUOTED_PRINTABLE: Final = re.compile("=([2-7][0-9A-F])", re.IGNORECASE)
_UNUSUAL: Final = re.compile(r"[^ -~]|[<&%\\]")
_TAG: Final = re.compile("<[^<>]*>")
_ESCAPED: Final = re.compile(r"\\{1,4}(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2})|[nrt])")
# Hangul fillers and the empty Braille pattern are letters and signs to Unicode; variation selectors and the grapheme
# joiner are marks.
_BLANK: Final = frozenset("\u115f\u1160\u3164\uffa0\u2800")
_NOTHING: Final = re.compile("[\u034f\ufe00-\ufe0f\U000e0100-\U000e01ef]")
# Joiners within a word of an Indic or Arabic script are part of its spelling.
_JOINER: Final = re.compile("(?<![^\x00-\x7f])[\u200c\u200d]+|[\u200c\u200d]+(?![^\x00-\x7f\u200c\u200d])")
_JOINERS: Final = frozenset("\u200c\u200d")


def _decode(text: str) -> str:
    """`text` as a reader sees it: decoded, without markup and what cannot be seen, each blank a space. In NFC."""
    if not _UNUSUAL.search(text):
        return text
    for _ in range(_MAX_DECODING_ROUNDS):
        encoded = text
        text = html.unescape(_ESCAPED.sub(_unescape, unquote(_TAG.sub("", text))))
        if text == encoded:
            break
    text = _JOINER.sub("", _NOTHING.sub("", normalize("NFC", text)))
    return "".join(map(_reader_character, text))


def _unescape(match: re.Match[str]) -> str:
    code = match[1] or match[2]
    return " " if code is None else chr(int(code, 16))


def _reader_character(sign: str) -> str:
    if sign.isspace() or sign in _BLANK:
        return " "
    return "" if category(sign) in ("Cc", "Cf", "Cs") and sign not in _JOINERS else sign


def escape_invisible(text: str) -> str:
    """`text` with each invisible character and unusual blank as `<U+00AD>`. Control characters stay."""
    return text if text.isascii() else "".join(map(_escape_invisible, text))


def _escape_invisible(sign: str) -> str:
    unseen = (not sign.isprintable() and category(sign) != "Cc") or sign in _BLANK or _NOTHING.match(sign)
    return f"<U+{ord(sign):04X}>" if unseen else sign
