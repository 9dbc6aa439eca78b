"""Template files from a seed: every placeholder, operator and channel, in patterns and languages that are valid.

The product's own checks of a template (`parse`, `compile_condition`) filter what is drawn here, so that patterns are as
odd as they allow; nothing else of the product decides what a file contains.
"""

import json
import random
import shutil
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from babel.dates import PATTERN_CHARS
from babel.localedata import locale_identifiers

from processor.domain.catalogue import EVENTS, FAMILIES
from processor.domain.channel import Channel, ContentType
from processor.domain.placeholders import Placeholder, PlaceholderType, placeholders_of
from processor.domain.record import EventName
from processor.domain.template import OperandType, Operator
from processor.mapping.conditions import OPERAND_TYPES
from processor.templates.compile_conditions import OPERATORS, compile_condition
from processor.templates.load import SHIPPED
from processor.templates.text import parse

NAMES_PER_TEMPLATE: Final = 9  # 300 templates are 21 of each family, and the largest has 94 placeholders
MAX_DRAWS: Final = 200  # of a pattern or an operand, until the product accepts it; then without a pattern

CUSTOM_FIELDS: Final = (
    "CLIENT:Segment",
    "CLIENT:Bank Account:2",
    "GROUP:Founded",
    "LOAN:Purpose",
    "LOAN:Risk Score",
    "SAVINGS:Insured",
    "SAVINGS:Last Contact",
    "TRANSACTION:Reference",
    "BRANCH:Região",
    "CENTRE:Raum 7",
    "USER:Отдел",
    "LINE_OF_CREDIT:Reviewed On",
    "Segment",
    "Purpose",
    "Insured",
)
"""The custom fields of generated templates, for which extreme events have values."""

GENERATED: Final = "fuzz-"
"""The prefix of generated templates' ids."""

FOREIGN_MARKUP: Final = (
    ":not(html, head, body, div, p, ul, li, table, tbody, tr, td, b, a, img, textarea), "
    'a:not([href^="https://pay.northbank.example/in/"], [href^="mailto:"], [href^="tel:"], [href^="sms:"], '
    '[href^="/in/"]), img:not([src^="https://img.northbank.example/i.png?c="])'
)
"""A CSS selector of elements, and of links to places, that no generated HTML has whatever its values are."""

GROWN_FIELD: Final = "Purpose"
"""A custom field that stands in each kind of link of half of the generated HTML; of any entity."""

ROLES: Final = ("Treasurer", "Präsidentin", "İşçi")
CATEGORY: Final = "NTC-3300-0041"

T = TypeVar("T")

Families = Mapping[str, EventName]


def write_templates(folder: Path, *, count: int, seed: int) -> None:
    """The shipped templates with their samples, and `count` generated ones. The same arguments give the same files."""
    shutil.copytree(SHIPPED, folder, dirs_exist_ok=True)
    writer = _TemplateWriter(seed)
    for number in range(count):
        (folder / f"{template_id(number)}.toml").write_text(writer.file(number), encoding="utf-8")


def template_id(number: int) -> str:
    """The id of a generated template."""
    return f"{GENERATED}{number:03}"


class _TemplateWriter:
    """Writes one file after the other; placeholders, events and operators come in turn."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(f"templates/{seed}")
        self._due: dict[str, deque[str]] = {family: deque(placeholders_of(family)) for family in FAMILIES}
        self._events: dict[str, deque[EventName]] = defaultdict(deque)
        self._operators = deque(Operator)
        for name, row in EVENTS.items():
            self._events[row.family].append(name)
        languages: dict[str, list[str]] = defaultdict(list)
        for tag in sorted(locale_identifiers()):
            languages[tag.partition("_")[0]].append(tag)
        self._languages = [tags for language, tags in languages.items() if language not in _OLD_CODES]
        # A table could not be read back from an attribute, a subject or a path.
        self._tables = {row.name for family in FAMILIES for row in placeholders_of(family).values() if _is_table(row)}

    def file(self, number: int) -> str:
        """The TOML text of template `number`."""
        rng = self.rng
        family = list(FAMILIES)[number % len(FAMILIES)]
        first = _rotate(self._events[family])
        channels = [channel for channel in Channel if channel in EVENTS[first].channels]
        channel = channels[number // len(FAMILIES) % len(channels)]
        target = rng.choice(targets(first))
        others = [name for name, row in EVENTS.items() if channel in row.channels and target in targets(name)]
        alike = [name for name in others if EVENTS[name].family == family]
        more = rng.sample(others if rng.random() < 0.25 else alike, 1) if rng.random() < 0.5 else []
        events = (first,) if first == "REPAYMENT_REMINDER" else tuple(dict.fromkeys((first, *more)))
        families = {EVENTS[name].family: name for name in reversed(events)}
        content = rng.choice(_CONTENT[channel])
        default, *variants = rng.sample(self._languages, 1 + rng.choice((0, 0, 1, 3)))
        locale = rng.choice(("en", rng.choice(default)))
        lines = [
            f"id = {_toml_string(template_id(number))}",
            f"version = {rng.choice((1, 2, 2**31 - 1))}",
            f"name = {_toml_string(f'Fuzz {number} – Größe «{rng.choice(_WORDS)}»')}",
            f"type = {_toml_string(channel)}",
            f"event = {_toml_string(first) if len(events) == 1 else json.dumps(events)}",
            f"target = {_toml_string(target)}",
            f"subscription = {_toml_string('OPT_IN' if rng.random() < 0.04 else 'OPT_OUT')}",
            f"strict = {json.dumps(rng.random() < 0.2)}",
            f"active = {json.dumps(rng.random() > 0.01)}",
            f"default_locale = {_toml_string(_spell(locale, rng))}",
            *self._recipient(channel, target),
        ]
        if channel in (Channel.EMAIL, Channel.WEB_HOOK, Channel.EVENT_STREAM):
            lines.append(f"content_type = {_toml_string(content)}")
        if channel in (Channel.EMAIL, Channel.SMS) and rng.random() < 0.5:
            lines.append(f"category = {_toml_string(CATEGORY)}")
        if events == ("REPAYMENT_REMINDER",):
            lines.append(f"trigger_days = {rng.choice((-365, -1, 0, 3, 365))}")
        conditions = rng.choice((1, 1, 2, 3)) if rng.random() < 0.45 else 0
        wide = conditions > 0 and rng.random() < 0.8
        lines.append(f"match = {_toml_string('ANY' if wide else rng.choice(('ALL', 'ANY')))}")
        lines += self._texts(channel, content, families, locale)
        for tag in dict.fromkeys(rng.choice(tags) for tags in variants):
            if tag.partition("_")[0] != locale.partition("_")[0]:
                lines += [f"[locale.{_toml_string(_spell(tag, rng))}]", *self._texts(channel, content, families, tag)]
        if channel is Channel.WEB_HOOK:
            lines += self._webhook(families, locale)
        if channel is Channel.EMAIL and rng.random() < 0.3:
            lines += ["[[attachment]]", *_ATTACHMENT]
        for _ in range(conditions):
            lines += self._condition(families)
        if wide:  # the others hardly ever hold
            lines += ["[[condition]]", 'field = "EVENT_ID"', 'operator = "NOT_EMPTY"']
        return "\n".join(lines) + "\n"

    def _recipient(self, channel: Channel, target: str) -> list[str]:
        if channel in (Channel.WEB_HOOK, Channel.EVENT_STREAM):
            return []
        kinds = [kind for kind, fitting in _RECIPIENTS.items() if target in fitting]
        kind = "CREDIT_OFFICER" if channel is Channel.TASK else self.rng.choice(kinds)
        lines = [f"recipient = {_toml_string(kind)}"]
        if kind == "GROUP_ROLE":
            lines.append(f"recipient_role = {_toml_string(self.rng.choice(ROLES))}")
        if kind == "CUSTOM_FIELD":
            lines.append(f"recipient_field = {_toml_string('CF:' + self.rng.choice(CUSTOM_FIELDS))}")
        return lines

    # ------------------------------------------------------------------------------------------------------- texts

    def _texts(self, channel: Channel, content: str, families: Families, locale: str) -> list[str]:
        lines = []
        if channel is Channel.EMAIL:
            subject = f"{self.rng.choice(_WORDS)}: {self._placeholder(families, locale)}"
            lines.append(f"subject = {_toml_string(subject)}")
        return [*lines, f"body = {_toml_string(self._body(content, families, locale))}"]

    def _body(self, content: str, families: Families, locale: str) -> str:
        rng = self.rng
        names = self._names(families)

        def piece(name: str) -> str:
            return self._placeholder_token(name, families, locale) if rng.random() < 0.85 else self._custom()

        match content:
            case "application/json":
                members = []
                for at, name in enumerate(names):
                    inside = rng.random() < 0.6
                    text = f'"{rng.choice(_WORDS)} {piece(name)}"' if inside else piece(name)
                    members.append(f'"k{at} ü\\u00df": {text}')
                return "{" + ", ".join(members) + ', "list": [null, true, -1.5e3, []]}'
            case "application/xml":
                return f"<m xml:lang='x'>{''.join(self._element(name, piece(name)) for name in names)}<!-- end --></m>"
            case "text/html":
                parts = [self._markup(name, piece(name)) for name in names]
                if rng.random() < 0.5:
                    parts += [link.replace("@", f"{{CF:{GROWN_FIELD}}}") for link in _LINKS]
                return "<html><body>" + "\n".join(parts) + "</body></html>"
            case _:
                return "\n".join(f"{rng.choice(_WORDS)}\t& <{rng.choice(_WORDS)}> {piece(name)}" for name in names)

    def _element(self, name: str, piece: str) -> str:
        if name in self._tables or self.rng.random() < 0.6:
            return f"<v n='{name}'>{piece}</v>"
        return f'<v n="{piece}" xmlns="urn:x"/>'

    def _markup(self, name: str, piece: str) -> str:
        if name in self._tables:
            return f"<div>{piece}</div>"
        shape = self.rng.choice(_MARKUP if self.rng.random() < 0.9 else _LINKS)
        return shape.replace("@", piece)

    def _names(self, families: Families) -> list[str]:
        """The placeholders of a text: the next ones of its first family, as far as all families have them."""
        first, *others = families
        common = [placeholders_of(family) for family in others]
        due = self._due[first]
        names = []
        for _ in range(NAMES_PER_TEMPLATE):
            name = _rotate(due)
            if all(name in rows for rows in common):
                names.append(name)
        return names or ["EVENT_ID"]

    def _placeholder(self, families: Families, locale: str) -> str:
        """A placeholder with a short value, for a subject or a URL."""
        names = [name for name in self._names(families) if name not in self._tables]
        if not names or self.rng.random() < 0.1:
            return self._custom()
        return self._placeholder_token(self.rng.choice(names), families, locale)

    def _custom(self) -> str:
        return f"{{CF:{self.rng.choice(CUSTOM_FIELDS)}}}"

    def _placeholder_token(self, name: str, families: Families, locale: str) -> str:
        """`{NAME}`, or with a pattern where its type in all families has patterns."""
        types = {placeholders_of(family)[name].type for family in families}
        if self.rng.random() < 0.75 and (types <= _NUMBERS or types <= _DATES):
            function = "FORMAT{%s,numericPattern=%s}" if types <= _NUMBERS else "FORMAT_DATE{%s,datePattern=%s}"
            for _ in range(MAX_DRAWS):
                pattern = number_pattern(self.rng) if types <= _NUMBERS else date_pattern(self.rng)
                token = function % (name, pattern)
                _, diagnostics = parse(token, ContentType.TEXT, families=families, locale=locale)
                if not any(diagnostic.is_error for diagnostic in diagnostics):
                    return token
        return f"{{{name}}}"

    def _webhook(self, families: Families, locale: str) -> list[str]:
        rng = self.rng
        path = f"/v1/{self._placeholder(families, locale)}" if rng.random() < 0.5 else "/v1"
        query = f"?a=1&b={self._placeholder(families, locale)}#f" if rng.random() < 0.7 else ""
        lines = [
            "[webhook]",
            f"url = {_toml_string(f'https://hooks.northbank.example:8443{path}/x{query}')}",
            f"request_type = {_toml_string(rng.choice(('POST', 'PUT', 'PATCH')))}",
            'headers = { "x-fuzz" = "1", "accept" = "*/*" }',
        ]
        if rng.random() < 0.3:
            lines += ['authorization = "BASIC_AUTHORIZATION"', 'username = "u"', 'password_env = "FUZZ_PASSWORD"']
        return lines

    # -------------------------------------------------------------------------------------------------- conditions

    def _condition(self, families: Families) -> list[str]:
        """A condition with the next operator, on a field of its type."""
        operator = _rotate(self._operators)
        common = set.intersection(*(set(placeholders_of(family)) for family in families))
        fields = sorted(
            name
            for name in common
            if all(
                OPERAND_TYPES[placeholders_of(family)[name].type] in OPERATORS[operator].types for family in families
            )
        )
        for draw in range(MAX_DRAWS):
            custom = not fields or self.rng.random() < 0.2
            field = "CF:" + self.rng.choice(CUSTOM_FIELDS) if custom else self.rng.choice(fields)
            kind = self.rng.choice(sorted(OPERATORS[operator].types)) if custom else _kind(field, families)
            operands = self._operands(operator, kind)
            condition, diagnostics = compile_condition(field, operator, operands, families=families)
            if condition is not None and not diagnostics:
                break
            assert draw < MAX_DRAWS - 1, f"no operands for {operator} {field}: {diagnostics}"
        operand_lines = [
            f"{name} = {json.dumps(list(texts), ensure_ascii=False) if name == 'values' else _toml_string(texts[0])}"
            for name, texts in operands.items()
        ]
        return [
            "[[condition]]",
            f"field = {_toml_string(field)}",
            f"operator = {_toml_string(operator)}",
            *operand_lines,
        ]

    def _operands(self, operator: Operator, kind: OperandType) -> dict[str, Sequence[str]]:
        if operator is Operator.LAST_DAYS:
            return {"value": [self.rng.choice(("1", "7", "36500"))]}
        operand_names = OPERATORS[operator].operands
        if operand_names == ("values",):
            return {"values": self.rng.sample(_OPERANDS[kind], 3)}
        drawn = self.rng.sample(_OPERANDS[kind], len(operand_names)) if operand_names else ()
        return {name: [text] for name, text in zip(operand_names, drawn, strict=True)}


# ------------------------------------------------------------------------------------------------------------- patterns


def number_pattern(rng: random.Random) -> str:
    """A number pattern, mostly an odd one; half of these are invalid."""
    if rng.random() < 0.3:
        return rng.choice(
            ("#,##0.00", "0", "#,##0.00 ¤", "¤¤ #,##,##0.###", "¤#,##0.00;(¤#,##0.00)", "#0.00%", "0.00‰", "0.0 ¤¤¤")
        )
    count = rng.choice((1, 3, 8, 20, 60, 100))
    pattern = "".join(rng.choices("#0,.;%‰¤+-() \u00a0", (9, 9, 2, 2, 1, 1, 1, 2, 1, 1, 1, 1, 1, 1), k=count))
    return _with_quotes(pattern, rng)


def date_pattern(rng: random.Random) -> str:
    """A date or time pattern, mostly an odd one."""
    if rng.random() < 0.3:
        return rng.choice(
            ("yyyy-MM-dd", "d. MMMM y", "EEEE, d MMM yy", "Y-'W'ww-e", "QQQQ G y", "HH:mm:ss zzzz", "w W")
        )
    letters = sorted(PATTERN_CHARS)
    runs = (rng.choice(letters) * rng.choice((1, 2, 3, 4, 5, 6, 40)) for _ in range(rng.randint(1, 6)))
    return _with_quotes(rng.choice((" ", "-", "/", "", "年")).join(runs)[:100], rng)


def _with_quotes(pattern: str, rng: random.Random) -> str:
    if rng.random() > 0.2:
        return pattern
    at = rng.randint(0, len(pattern))
    return f"{pattern[:at]}'{rng.choice(_QUOTED)}'{pattern[at:]}"[:100]


# ---------------------------------------------------------------------------------------------------------- vocabulary


def targets(event: EventName) -> list[str]:
    """The targets of a template of `event`: the event's own, and each possible holder (rule T05)."""
    row = EVENTS[event]
    return list(dict.fromkeys((row.target, *(field.upper() for field in FAMILIES[row.family].holder.fields))))


def _rotate(items: deque[T]) -> T:
    """The first item, which moves to the end."""
    items.rotate(-1)
    return items[-1]


def _is_table(row: Placeholder) -> bool:
    return row.type is PlaceholderType.TABLE


def _kind(name: str, families: Families) -> OperandType:
    return OPERAND_TYPES[placeholders_of(next(iter(families)))[name].type]


def _toml_string(text: str) -> str:
    """A TOML string; a JSON string is one, if no character needs a surrogate pair."""
    return json.dumps(text, ensure_ascii=False)


def _spell(tag: str, rng: random.Random) -> str:
    """A language tag as people write it."""
    tag = tag.replace("_", "-") if rng.random() < 0.8 else tag
    return rng.choice((tag, tag, tag.lower(), tag.upper()))


# Old codes are aliases of another language, so both in one template would be the same language twice.
_OLD_CODES: Final = frozenset(
    ("no", "nb", "nn", "iw", "he", "in", "id", "ji", "yi", "sh", "sr", "tl", "fil", "mo", "ro")
)
_WORDS: Final = ("Grüße", "額", "сумма", "المبلغ", "naïve", "Ω≈ç", "x\u0301", "total")
_QUOTED: Final = ("of", "o  clock", "¤", "#0", "«»", "年", "yyyy")
_MARKUP: Final = (
    "<p>@</p>",
    "<td title='@'>x</td>",
    '<b data-v="@">@</b>',
    '<a href="https://pay.northbank.example/in/@?x=@#y">pay</a>',
    "<img alt='@' src='https://img.northbank.example/i.png?c=@'>",
    "<textarea>@</textarea>",
    "<ul><li>@<li>&amp;@</ul>",
)
_LINKS: Final = (  # few, as a value that is no address or number fails its template in them
    "<a href='mailto:@'>mail</a>",
    "<a href='mailto:help&#64;northbank.example?subject=@&amp;body=@'>mail</a>",
    "<a href='mailto:loans+@&#64;northbank.example'>mail</a>",
    "<a href='tel:@'>call</a> <a href='sms:@?body=@'>text</a>",
    "<a href='/in/@/@?next=@'>in</a>",
)
_CONTENT: Final[Mapping[Channel, Sequence[str]]] = {
    Channel.EMAIL: ("text/html", "text/html", "text/plain"),
    Channel.SMS: ("",),
    Channel.TASK: ("",),
    Channel.WEB_HOOK: ("application/json", "application/json", "application/xml", "text/plain; charset=UTF-8"),
    Channel.EVENT_STREAM: ("application/json", "application/xml", "text/plain; charset=UTF-8"),
}
_RECIPIENTS: Final[Mapping[str, frozenset[str]]] = {  # recipient -> targets that it fits (rule T06)
    "CLIENT": frozenset(("CLIENT", "LOANS", "SAVINGS")),
    "GROUP": frozenset(("GROUP", "LOANS", "SAVINGS")),
    "GROUP_ROLE": frozenset(("GROUP", "LOANS", "SAVINGS")),
    "CREDIT_OFFICER": frozenset(("CLIENT", "GROUP", "LOANS", "SAVINGS")),
    "CUSTOM_FIELD": frozenset(("CLIENT", "GROUP", "LOANS", "SAVINGS")),
}
_ATTACHMENT: Final = (
    'id = "ATT-1150-0093-2201"',
    'name = "Terms – 条件"',
    'content_type = "application/pdf"',
    "file_size = 9223372036854775807",
    'file_name = "terms.pdf"',
    'href = "/v1/notifications/attachments/ATT-1150-0093-2201"',
)
_NUMBERS: Final = frozenset((PlaceholderType.MONEY, PlaceholderType.DECIMAL, PlaceholderType.INTEGER))
_DATES: Final = frozenset((PlaceholderType.DATE, PlaceholderType.TIMESTAMP))
_OPERANDS: Final[Mapping[OperandType, Sequence[str]]] = {
    OperandType.STRING: ("a", "A", "İ", "ß", "¤", "Ines", "\U0001f600", " "),
    OperandType.ENUM: ("a", "ACTIVE", "İ", "LOAN_REPAYMENT", "TUESDAY"),
    OperandType.BOOLEAN: ("true", "FALSE"),
    OperandType.NUMBER: ("-1", "0", "3", "100"),
    OperandType.BIG_DECIMAL: ("-9999999999999999999999999999.9999999999", "0", "0.0000000001", "1e3", "100.5"),
    OperandType.MONEY: ("-0.01", "0", "12.5", "9999999999999999999999999999"),
    OperandType.DATE: ("0001-01-01", "2026-03-14", "9999-12-31"),
    OperandType.DATE_TIME: ("0001-01-01", "2026-03-14", "2026-03-14T09:26:53+02:00", "9999-12-31T23:59:59.999999Z"),
}
