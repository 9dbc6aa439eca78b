"""Template files by a seed: every placeholder, operator and channel, in patterns and languages that the loader takes.

What the product checks when it loads a template (`parse`, `compile_condition`) chooses among what is drawn here, so the
patterns are as odd as it lets pass; nothing else of the product decides what a file holds.
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
from processor.domain.message import Channel
from processor.domain.placeholders import Placeholder, PlaceholderType, placeholders_of
from processor.domain.record import EventName
from processor.mapping.conditions import KINDS, RULES, compile_condition
from processor.mapping.template import ContentType, Kind, Operator, parse
from processor.templates.load import SHIPPED

NAMES_A_TEMPLATE: Final = 9  # 300 templates are 21 of each family, and the largest has 94 placeholders
DRAWS: Final = 200  # of a pattern or an operand, until the product takes it; the plain form comes after

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
"""What generated templates name after `CF:`, and what extreme events have values for."""

GENERATED: Final = "fuzz-"
"""How the ids of generated templates begin."""

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
    author = _Author(seed)
    for number in range(count):
        (folder / f"{template_id(number)}.toml").write_text(author.file(number), encoding="utf-8")


def template_id(number: int) -> str:
    """The id of a generated template."""
    return f"{GENERATED}{number:03}"


class _Author:
    """Writes one file after the other; what was used least comes next."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(f"templates/{seed}")
        self._due: dict[str, deque[str]] = {family: deque(placeholders_of(family)) for family in FAMILIES}
        self._events: dict[str, deque[EventName]] = defaultdict(deque)
        self._operators = deque(Operator)
        for name, row in EVENTS.items():
            self._events[row.family].append(name)
        languages: dict[str, list[str]] = defaultdict(list)
        for tag in sorted(locale_identifiers()):
            languages[tag.partition("_")[0]].append(tag)
        self._languages = [tags for language, tags in languages.items() if language not in _OLD_CODES]
        # A text with a table could not be read back in an attribute, a subject or a path.
        self._tables = {row.name for family in FAMILIES for row in placeholders_of(family).values() if _is_table(row)}

    def file(self, number: int) -> str:
        """The TOML text of template `number`."""
        dice = self.dice
        family = list(FAMILIES)[number % len(FAMILIES)]
        first = _next(self._events[family])
        channels = [channel for channel in Channel if channel in EVENTS[first].channels]
        channel = channels[number // len(FAMILIES) % len(channels)]
        target = dice.choice(targets(first))
        others = [name for name, row in EVENTS.items() if channel in row.channels and target in targets(name)]
        alike = [name for name in others if EVENTS[name].family == family]
        more = dice.sample(others if dice.random() < 0.25 else alike, 1) if dice.random() < 0.5 else []
        events = (first,) if first == "REPAYMENT_REMINDER" else tuple(dict.fromkeys((first, *more)))
        families = {EVENTS[name].family: name for name in reversed(events)}
        content = dice.choice(_CONTENT[channel])
        default, *variants = dice.sample(self._languages, 1 + dice.choice((0, 0, 1, 3)))
        locale = dice.choice(("en", dice.choice(default)))
        lines = [
            f"id = {_text(template_id(number))}",
            f"version = {dice.choice((1, 2, 2**31 - 1))}",
            f"name = {_text(f'Fuzz {number} – Größe «{dice.choice(_WORDS)}»')}",
            f"type = {_text(channel)}",
            f"event = {_text(first) if len(events) == 1 else json.dumps(events)}",
            f"target = {_text(target)}",
            f"subscription = {_text('OPT_IN' if dice.random() < 0.04 else 'OPT_OUT')}",
            f"strict = {json.dumps(dice.random() < 0.2)}",
            f"active = {json.dumps(dice.random() > 0.01)}",
            f"default_locale = {_text(_spelt(locale, dice))}",
            *self._recipient(channel, target),
        ]
        if channel in (Channel.EMAIL, Channel.WEB_HOOK, Channel.EVENT_STREAM):
            lines.append(f"content_type = {_text(content)}")
        if channel in (Channel.EMAIL, Channel.SMS) and dice.random() < 0.5:
            lines.append(f"category = {_text(CATEGORY)}")
        if events == ("REPAYMENT_REMINDER",):
            lines.append(f"trigger_days = {dice.choice((-365, -1, 0, 3, 365))}")
        conditions = dice.choice((1, 1, 2, 3)) if dice.random() < 0.45 else 0
        wide = conditions > 0 and dice.random() < 0.8
        lines.append(f"match = {_text('ANY' if wide else dice.choice(('ALL', 'ANY')))}")
        lines += self._texts(channel, content, families, locale)
        for tag in dict.fromkeys(dice.choice(tags) for tags in variants):
            if tag.partition("_")[0] != locale.partition("_")[0]:
                lines += [f"[locale.{_text(_spelt(tag, dice))}]", *self._texts(channel, content, families, tag)]
        if channel is Channel.WEB_HOOK:
            lines += self._webhook(families, locale)
        if channel is Channel.EMAIL and dice.random() < 0.3:
            lines += ["[[attachment]]", *_ATTACHMENT]
        for _ in range(conditions):
            lines += self._condition(families)
        if wide:  # the others are held against each event as well, and hardly ever hold
            lines += ["[[condition]]", 'field = "EVENT_ID"', 'operator = "NOT_EMPTY"']
        return "\n".join(lines) + "\n"

    def _recipient(self, channel: Channel, target: str) -> list[str]:
        if channel in (Channel.WEB_HOOK, Channel.EVENT_STREAM):
            return []
        kinds = [kind for kind, fitting in _RECIPIENTS.items() if target in fitting]
        kind = "CREDIT_OFFICER" if channel is Channel.TASK else self.dice.choice(kinds)
        lines = [f"recipient = {_text(kind)}"]
        if kind == "GROUP_ROLE":
            lines.append(f"recipient_role = {_text(self.dice.choice(ROLES))}")
        if kind == "CUSTOM_FIELD":
            lines.append(f"recipient_field = {_text('CF:' + self.dice.choice(CUSTOM_FIELDS))}")
        return lines

    # ------------------------------------------------------------------------------------------------------- texts

    def _texts(self, channel: Channel, content: str, families: Families, locale: str) -> list[str]:
        lines = []
        if channel is Channel.EMAIL:
            subject = f"{self.dice.choice(_WORDS)}: {self._placeholder(families, locale)}"
            lines.append(f"subject = {_text(subject)}")
        return [*lines, f"body = {_text(self._body(content, families, locale))}"]

    def _body(self, content: str, families: Families, locale: str) -> str:
        dice = self.dice
        names = self._names(families)

        def piece(name: str) -> str:
            return self._written(name, families, locale) if dice.random() < 0.85 else self._custom()

        match content:
            case "application/json":
                members = []
                for at, name in enumerate(names):
                    inside = dice.random() < 0.6
                    text = f'"{dice.choice(_WORDS)} {piece(name)}"' if inside else piece(name)
                    members.append(f'"k{at} ü\\u00df": {text}')
                return "{" + ", ".join(members) + ', "list": [null, true, -1.5e3, []]}'
            case "application/xml":
                return f"<m xml:lang='x'>{''.join(self._element(name, piece(name)) for name in names)}<!-- end --></m>"
            case "text/html":
                parts = [self._markup(name, piece(name)) for name in names]
                if dice.random() < 0.5:
                    parts += [link.replace("@", f"{{CF:{GROWN_FIELD}}}") for link in _LINKS]
                return "<html><body>" + "\n".join(parts) + "</body></html>"
            case _:
                return "\n".join(f"{dice.choice(_WORDS)}\t& <{dice.choice(_WORDS)}> {piece(name)}" for name in names)

    def _element(self, name: str, piece: str) -> str:
        if name in self._tables or self.dice.random() < 0.6:
            return f"<v n='{name}'>{piece}</v>"
        return f'<v n="{piece}" xmlns="urn:x"/>'

    def _markup(self, name: str, piece: str) -> str:
        if name in self._tables:
            return f"<div>{piece}</div>"
        shape = self.dice.choice(_MARKUP if self.dice.random() < 0.9 else _LINKS)
        return shape.replace("@", piece)

    def _names(self, families: Families) -> list[str]:
        """The placeholders of a text: those that are due in its first family, as far as all families have them."""
        first, *others = families
        common = [placeholders_of(family) for family in others]
        due = self._due[first]
        names = []
        for _ in range(NAMES_A_TEMPLATE):
            name = _next(due)
            if all(name in rows for rows in common):
                names.append(name)
        return names or ["EVENT_ID"]

    def _placeholder(self, families: Families, locale: str) -> str:
        """A short one, for a subject or an address."""
        names = [name for name in self._names(families) if name not in self._tables]
        if not names or self.dice.random() < 0.1:
            return self._custom()
        return self._written(self.dice.choice(names), families, locale)

    def _custom(self) -> str:
        return f"{{CF:{self.dice.choice(CUSTOM_FIELDS)}}}"

    def _written(self, name: str, families: Families, locale: str) -> str:
        """`{NAME}`, or with a form where its type in all families has one."""
        types = {placeholders_of(family)[name].type for family in families}
        if self.dice.random() < 0.75 and (types <= _NUMBERS or types <= _DATES):
            function = "FORMAT{%s,numericPattern=%s}" if types <= _NUMBERS else "FORMAT_DATE{%s,datePattern=%s}"
            for _ in range(DRAWS):
                pattern = number_pattern(self.dice) if types <= _NUMBERS else date_pattern(self.dice)
                token = function % (name, pattern)
                _, flaws = parse(token, ContentType.TEXT, families=families, locale=locale)
                if not any(flaw.fatal for flaw in flaws):
                    return token
        return f"{{{name}}}"

    def _webhook(self, families: Families, locale: str) -> list[str]:
        dice = self.dice
        path = f"/v1/{self._placeholder(families, locale)}" if dice.random() < 0.5 else "/v1"
        query = f"?a=1&b={self._placeholder(families, locale)}#f" if dice.random() < 0.7 else ""
        lines = [
            "[webhook]",
            f"url = {_text(f'https://hooks.northbank.example:8443{path}/x{query}')}",
            f"request_type = {_text(dice.choice(('POST', 'PUT', 'PATCH')))}",
            'headers = { "x-fuzz" = "1", "accept" = "*/*" }',
        ]
        if dice.random() < 0.3:
            lines += ['authorization = "BASIC_AUTHORIZATION"', 'username = "u"', 'password_env = "FUZZ_PASSWORD"']
        return lines

    # -------------------------------------------------------------------------------------------------- conditions

    def _condition(self, families: Families) -> list[str]:
        """A condition with the operator that was used least, on a field that it is for."""
        operator = _next(self._operators)
        common = set.intersection(*(set(placeholders_of(family)) for family in families))
        fields = sorted(
            name
            for name in common
            if all(KINDS[placeholders_of(family)[name].type] in RULES[operator].kinds for family in families)
        )
        for draw in range(DRAWS):
            custom = not fields or self.dice.random() < 0.2
            field = "CF:" + self.dice.choice(CUSTOM_FIELDS) if custom else self.dice.choice(fields)
            kind = self.dice.choice(sorted(RULES[operator].kinds)) if custom else _kind(field, families)
            operands = self._operands(operator, kind)
            condition, flaws = compile_condition(field, operator, operands, families=families)
            if condition is not None and not flaws:
                break
            assert draw < DRAWS - 1, f"no operands for {operator} {field}: {flaws}"
        given = [
            f"{name} = {json.dumps(list(texts), ensure_ascii=False) if name == 'values' else _text(texts[0])}"
            for name, texts in operands.items()
        ]
        return ["[[condition]]", f"field = {_text(field)}", f"operator = {_text(operator)}", *given]

    def _operands(self, operator: Operator, kind: Kind) -> dict[str, Sequence[str]]:
        if operator is Operator.LAST_DAYS:
            return {"value": [self.dice.choice(("1", "7", "36500"))]}
        wanted = RULES[operator].operands
        if wanted == ("values",):
            return {"values": self.dice.sample(_OPERANDS[kind], 3)}
        drawn = self.dice.sample(_OPERANDS[kind], len(wanted)) if wanted else ()
        return {name: [text] for name, text in zip(wanted, drawn, strict=True)}


# ------------------------------------------------------------------------------------------------------------- patterns


def number_pattern(dice: random.Random) -> str:
    """A pattern of a number, mostly an odd one; half of these are none."""
    if dice.random() < 0.3:
        return dice.choice(
            ("#,##0.00", "0", "#,##0.00 ¤", "¤¤ #,##,##0.###", "¤#,##0.00;(¤#,##0.00)", "#0.00%", "0.00‰", "0.0 ¤¤¤")
        )
    count = dice.choice((1, 3, 8, 20, 60, 100))
    pattern = "".join(dice.choices("#0,.;%‰¤+-() \u00a0", (9, 9, 2, 2, 1, 1, 1, 2, 1, 1, 1, 1, 1, 1), k=count))
    return _with_quotes(pattern, dice)


def date_pattern(dice: random.Random) -> str:
    """A pattern of a date or moment, mostly an odd one."""
    if dice.random() < 0.3:
        return dice.choice(
            ("yyyy-MM-dd", "d. MMMM y", "EEEE, d MMM yy", "Y-'W'ww-e", "QQQQ G y", "HH:mm:ss zzzz", "w W")
        )
    letters = sorted(PATTERN_CHARS)
    runs = (dice.choice(letters) * dice.choice((1, 2, 3, 4, 5, 6, 40)) for _ in range(dice.randint(1, 6)))
    return _with_quotes(dice.choice((" ", "-", "/", "", "年")).join(runs)[:100], dice)


def _with_quotes(pattern: str, dice: random.Random) -> str:
    if dice.random() > 0.2:
        return pattern
    at = dice.randint(0, len(pattern))
    return f"{pattern[:at]}'{dice.choice(_QUOTED)}'{pattern[at:]}"[:100]


# ---------------------------------------------------------------------------------------------------------- vocabulary


def targets(event: EventName) -> list[str]:
    """What a template of `event` may be about: the event's own target, and who can be its holder (rule T05)."""
    row = EVENTS[event]
    return list(dict.fromkeys((row.target, *(field.upper() for field in FAMILIES[row.family].holder.fields))))


def _next(things: deque[T]) -> T:
    """The first, which goes to the end."""
    things.rotate(-1)
    return things[-1]


def _is_table(row: Placeholder) -> bool:
    return row.type is PlaceholderType.TABLE


def _kind(name: str, families: Families) -> Kind:
    return KINDS[placeholders_of(next(iter(families)))[name].type]


def _text(text: str) -> str:
    """A TOML string; JSON's is one, where no character needs a surrogate pair."""
    return json.dumps(text, ensure_ascii=False)


def _spelt(tag: str, dice: random.Random) -> str:
    """A language tag as people write it."""
    tag = tag.replace("_", "-") if dice.random() < 0.8 else tag
    return dice.choice((tag, tag, tag.lower(), tag.upper()))


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
_LINKS: Final = (  # few, as a value that is no address or number fails its template there
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
_OPERANDS: Final[Mapping[Kind, Sequence[str]]] = {
    Kind.STRING: ("a", "A", "İ", "ß", "¤", "Ines", "\U0001f600", " "),
    Kind.ENUM: ("a", "ACTIVE", "İ", "LOAN_REPAYMENT", "TUESDAY"),
    Kind.BOOLEAN: ("true", "FALSE"),
    Kind.NUMBER: ("-1", "0", "3", "100"),
    Kind.BIG_DECIMAL: ("-9999999999999999999999999999.9999999999", "0", "0.0000000001", "1e3", "100.5"),
    Kind.MONEY: ("-0.01", "0", "12.5", "9999999999999999999999999999"),
    Kind.DATE: ("0001-01-01", "2026-03-14", "9999-12-31"),
    Kind.DATE_TIME: ("0001-01-01", "2026-03-14", "2026-03-14T09:26:53+02:00", "9999-12-31T23:59:59.999999Z"),
}
