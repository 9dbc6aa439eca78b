"""What a template file comes to: its words, events, conditions and texts, as far as they can be used.

Each part is compiled once, when a check or the template first needs it, and keeps what is wrong with it.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Any, Final, Generic, TypeVar

from processor.domain.catalogue import EVENTS, FAMILIES, Target, nearest_event
from processor.domain.channel import CHANNELS, AddressKind, Channel, ContentType, RecipientKind
from processor.domain.diagnostic import Diagnostic
from processor.domain.ids import template_key
from processor.domain.language import LanguageKey, language_key, normalize_tag
from processor.domain.notification import Attachment
from processor.domain.output_topics import MAX_RECORD_BYTES
from processor.domain.placeholders import ENTITIES, MANUAL
from processor.domain.record import EventName, TemplateId
from processor.domain.template import (
    Condition,
    CustomField,
    EscapeContext,
    Match,
    Operator,
    Segment,
    Subscription,
    Template,
    Text,
)
from processor.domain.text import closest_match, did_you_mean
from processor.errors import InternalError
from processor.templates.compile_conditions import compile_condition
from processor.templates.diagnostics import Code, Diagnostics, error, of_text, short, warning
from processor.templates.disguises import normalize_custom_field, normalize_field
from processor.templates.document import check_document, check_hosts
from processor.templates.file_model import (
    AttachmentSection,
    ConditionSection,
    LocaleSection,
    TemplateFile,
    operand_text,
)
from processor.templates.html_scanner import place_placeholders
from processor.templates.language_tags import check_tag
from processor.templates.parse_file import ParsedFile
from processor.templates.policy import TemplatePolicy
from processor.templates.rules import RuleCode
from processor.templates.text import check_spelling, parse, parse_custom_field

CONDITIONS_LIMIT: Final = 100  # each is evaluated for each event
OPERANDS_LIMIT: Final = 1000

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Compiled(Generic[T]):
    """A part of a template, as much of it as can be used, and what is wrong with it."""

    value: T
    diagnostics: Diagnostics = ()


@dataclass(frozen=True)
class TemplateParts:
    """The parts of one template. What is not one of its closed list is None here; a check names it."""

    parsed: ParsedFile
    policy: TemplatePolicy

    @property
    def file(self) -> TemplateFile:
        """The fields of the file."""
        return self.parsed.file

    @cached_property
    def channel(self) -> Channel | None:
        """`type`."""
        return parse_enum(self.file.type, Channel)

    @cached_property
    def target(self) -> Target | None:
        """`target`."""
        return parse_enum(self.file.target, Target)

    @cached_property
    def recipient(self) -> RecipientKind | None:
        """`recipient`."""
        return parse_enum(self.file.recipient, RecipientKind)

    @cached_property
    def subscription(self) -> Subscription | None:
        """`subscription`."""
        return parse_enum(self.file.subscription, Subscription)

    @cached_property
    def events(self) -> Compiled[tuple[EventName, ...]]:
        """The events that there are, each once."""
        return _compile_events(self.file)

    @cached_property
    def families(self) -> Mapping[str, EventName]:
        """Each family of the events, with the first event of it."""
        # MANUAL is no event of the domain, and so in none of its families.
        return {MANUAL if event == MANUAL else EVENTS[event].family: event for event in reversed(self.events.value)}

    @cached_property
    def content_type(self) -> ContentType | None:
        """`content_type`, or the usual one of the channel."""
        if self.channel is None:
            return None
        spec = CHANNELS[self.channel]
        return (
            spec.default_content if self.file.content_type is None else spec.content_types.get(self.file.content_type)
        )

    @cached_property
    def recipient_field(self) -> Compiled[CustomField | None]:
        """The custom field that has the recipient's address."""
        if self.recipient is not RecipientKind.CUSTOM_FIELD:
            return Compiled(None)
        return _compile_recipient_field(self.file.recipient_field or "")

    @cached_property
    def conditions(self) -> Compiled[tuple[Condition, ...]]:
        """The conditions that can be evaluated."""
        return _compile_conditions(self.parsed, self.families)

    @cached_property
    def texts(self) -> Compiled[Mapping[str, Text]]:
        """The texts by language tag, the top level's under the empty one."""
        return _compile_texts(self)

    @cached_property
    def url(self) -> Compiled[tuple[Segment, ...] | None]:
        """The address of a webhook; None when there is none, or the events are not known."""
        webhook = self.file.webhook
        needs_url = self.channel is not None and CHANNELS[self.channel].address is AddressKind.URL
        if not needs_url or webhook is None or webhook.url is None or not self.families:
            return Compiled(None)
        url, found = parse(webhook.url, EscapeContext.URL, families=self.families, locale=self.file.default_locale)
        return Compiled(url, tuple(of_text(found, "webhook.url")))


def parse_enum(word: str | None, members: type[E]) -> E | None:
    """The member that `word` is; None for any other word."""
    return next((member for member in members if member == word), None)


def check_enum(field: str, word: str | None, known: Iterable[str], *, code: Code = "") -> Iterator[Diagnostic]:
    """A word that is not one of a closed list; None is a field that is not there."""
    known = [str(member) for member in known]
    if word is not None and word not in known:
        near = closest_match(word, known) or closest_match(word.upper(), known)
        hint = did_you_mean(near, otherwise=f"one of: {', '.join(known)}")
        yield error(f"unknown {field.rpartition('.')[2]} {short(word)!r}", code=code, field=field, hint=hint)


# -------------------------------------------------------------------------------------------------------------- events


def _compile_events(file: TemplateFile) -> Compiled[tuple[EventName, ...]]:
    """T03: the events that there are, each once."""
    if file.event == []:
        return Compiled((), (error("`event` names no event", code=RuleCode.EVENT, field="event"),))
    events: list[EventName] = []
    diagnostics: list[Diagnostic] = []
    for name in file.events:
        message, hint = _wrong_event(name, file.trigger, events)
        if message:
            diagnostics.append(error(message, code=RuleCode.EVENT, field="event", hint=hint))
        else:
            events.append(EventName(name))
    return Compiled(tuple(events), tuple(diagnostics))


def _wrong_event(name: str, trigger: str, earlier: Iterable[str]) -> tuple[str, str]:
    """What is wrong with an event of a template, and a hint; empty for nothing."""
    if name == MANUAL and trigger != MANUAL:
        return "event MANUAL goes with trigger MANUAL", 'trigger = "MANUAL"'
    if name != MANUAL and trigger == MANUAL:
        return f"trigger MANUAL goes with the one event MANUAL, not with {short(name)!r}", ""
    if name == "DO_NOTHING":
        return "event DO_NOTHING never occurs", ""
    if name not in EVENTS and name != MANUAL:
        return f"unknown event {short(name)!r}", did_you_mean(nearest_event(name))
    if name in earlier:
        return f"event {name} is named twice", ""
    return "", ""


# ----------------------------------------------------------------------------------------------------------- recipient


def _compile_recipient_field(written: str) -> Compiled[CustomField | None]:
    """T07 and T21: `recipient_field`, with or without `CF:`."""
    field, name = "recipient_field", written.removeprefix("CF:")
    meant = normalize_field(written) or f"CF:{normalize_custom_field(written)}"
    try:
        custom_field = parse_custom_field(name)
    except ValueError as failure:
        message = f"recipient CUSTOM_FIELD needs `recipient_field`: {failure}"
        hint = 'as in recipient_field = "CF:CLIENT:Second e-mail"'
        return Compiled(None, (error(message, code=RuleCode.RECIPIENT_DETAIL, field="recipient", hint=hint),))
    code = RuleCode.DISGUISED_PLACEHOLDER
    if not meant.startswith("CF:"):
        message = f"recipient_field {short(written)!r} is the name of a placeholder, not of a custom field"
        hint = f'"CF:{written}" is the custom field that is called so'
        return Compiled(custom_field, (error(message, code=code, field=field, hint=hint),))
    if written.startswith(("CF:", *(f"{entity}:" for entity in ENTITIES))) or normalize_field(written) == "":
        return Compiled(custom_field, tuple(of_text(check_spelling(name, written, '"CF:{}"'), field)))
    disguised = error("looks like another custom field", code=code, excerpt=written, hint=f'write "{meant}"')
    return Compiled(custom_field, tuple(of_text([disguised], field)))


# ---------------------------------------------------------------------------------------------------------- conditions


def _compile_conditions(parsed: ParsedFile, families: Mapping[str, EventName]) -> Compiled[tuple[Condition, ...]]:
    """T18: the conditions that can be evaluated."""
    sections, code = parsed.file.condition, RuleCode.CONDITION
    if sections and MANUAL in families:
        message, hint = "a template with trigger MANUAL has no conditions", "leave them out: its sender decides"
        return Compiled((), (error(message, code=code, field="condition", hint=hint),))
    if len(sections) > CONDITIONS_LIMIT:
        message = f"{len(sections)} conditions; a template has at most {CONDITIONS_LIMIT}"
        return Compiled((), (error(message, code=code, field="condition"),))
    compiled = [_compile_section(section, index, parsed.invalid, families) for index, section in enumerate(sections)]
    return Compiled(
        tuple(part.value for part in compiled if part.value is not None),
        tuple(diagnostic for part in compiled for diagnostic in part.diagnostics),
    )


def _compile_section(
    section: ConditionSection, index: int, invalid: frozenset[str], families: Mapping[str, EventName]
) -> Compiled[Condition | None]:
    """One `[[condition]]`; with a field that did not fit it is checked as far as the others go."""
    key, code = f"condition.{index}", RuleCode.CONDITION
    if key in invalid:
        return Compiled(None)
    diagnostics = [
        error(f"field `condition[{index + 1}].{name}` is missing", code=code, field=key)
        for name in ("field", "operator")
        if getattr(section, name) is None and f"{key}.{name}" not in invalid
    ]
    diagnostics += check_enum(f"{key}.operator", section.operator, Operator, code=code)
    operands, wrong = _operand_texts(section, index)
    diagnostics += wrong
    if section.field is None:
        return Compiled(None, tuple(diagnostics))
    operator = parse_enum(section.operator, Operator)
    if wrong or any(f"{key}.{name}" in invalid for name in ConditionSection.model_fields):
        operator = None
    condition, found = compile_condition(section.field, operator, operands, families=families)
    for name in dict.fromkeys(diagnostic.location.field for diagnostic in found):
        of_field = [diagnostic for diagnostic in found if diagnostic.location.field == name]
        diagnostics += of_text(of_field, f"{key}.{name}")
    return Compiled(condition, tuple(diagnostics))


def _operand_texts(section: ConditionSection, index: int) -> tuple[dict[str, list[str]], list[Diagnostic]]:
    """The operands of a condition as text, by their names, and what is wrong with them."""
    operands: dict[str, list[str]] = {}
    diagnostics: list[Diagnostic] = []
    for name, values in section.operands.items():
        operands[name] = [text for text in map(operand_text, values) if text is not None]
        written, message = f"`condition[{index + 1}].{name}`", ""
        if len(operands[name]) < len(values):
            message = f"{written} must be text, a number, true or false, or a day or moment"
        elif len(values) > OPERANDS_LIMIT:
            message = f"{written} has {len(values)} values, at most {OPERANDS_LIMIT}"
        if message:
            diagnostics.append(error(message, code=RuleCode.CONDITION, field=f"condition.{index}.{name}"))
    return operands, diagnostics


# --------------------------------------------------------------------------------------------------------------- texts


def _compile_texts(parts: TemplateParts) -> Compiled[Mapping[str, Text]]:
    """The top level and each section `[locale.…]` that may be chosen."""
    file = parts.file
    top = _compile_text(parts, file, "", file.default_locale)
    texts, diagnostics = {"": top.value}, [*top.diagnostics]
    if file.locale and (reason := _why_no_language(file, parts.families)):
        message, hint = f"no [locale] section can be chosen: {reason}", _TOP_LEVEL_IS_SENT
        diagnostics.append(warning(message, field=f"locale.{next(iter(file.locale))}", hint=hint))
    first_of: dict[LanguageKey, str] = {}
    for tag, section in file.locale.items():
        found = list(_check_section_tag(tag, file.default_locale, first_of))
        diagnostics += found
        if any(diagnostic.is_error for diagnostic in found):
            continue
        text = _compile_text(parts, section, f"locale.{tag}.", tag)
        texts[normalize_tag(tag)] = text.value
        diagnostics += text.diagnostics
    return Compiled(texts, tuple(diagnostics))


_TOP_LEVEL_IS_SENT: Final = "the top level is what is sent; leave the sections out"


def _why_no_language(file: TemplateFile, families: Mapping[str, EventName]) -> str:
    """Why no reader of the template's text has a language, in words; empty when one may have."""
    if file.recipient == RecipientKind.CREDIT_OFFICER:
        return "a user of the bank has no language"
    with_holder = [family for family in families if family == MANUAL or FAMILIES[family].holder.fields]
    return "" if with_holder or not families else "its events are no client's and no group's"


def _check_section_tag(tag: str, default: str, first_of: dict[LanguageKey, str]) -> Iterator[Diagnostic]:
    """What is wrong with the tag of a section. Of two that mean the same, one could never be chosen; `first_of` has the
    tags before it, and gets this one."""
    field, section = f"locale.{tag}", f"[locale.{json.dumps(short(tag), ensure_ascii=False)}]"
    if wrong := check_tag(tag):
        make = error if wrong.is_error else warning
        yield make(f"{section} {wrong.message}", field=field, hint=wrong.hint)
        if wrong.is_error:
            return
    first = first_of.setdefault(language_key(tag), tag)
    if language_key(tag) == language_key(default):
        hint = f"the top level is in default_locale, {default!r}"
        yield error(f"{section} is the top level's own language", field=field, hint=hint)
    elif first != tag:
        hint = "they are the same language; keep one of them"
        yield error(f"{section} is there twice, also as {json.dumps(first)}", field=field, hint=hint)


def _compile_text(
    parts: TemplateParts, source: TemplateFile | LocaleSection, prefix: str, locale: str
) -> Compiled[Text]:
    """Subject and body of the top level or of a section, whose fields have `prefix`."""
    subject = _compile_subject(parts, source.subject, prefix, locale)
    body = _compile_body(parts, prefix, locale)
    return Compiled(Text(subject.value, body.value), (*subject.diagnostics, *body.diagnostics))


def _compile_subject(
    parts: TemplateParts, subject: str | None, prefix: str, locale: str
) -> Compiled[tuple[Segment, ...] | None]:
    """T08: one line for a channel that has a subject, none for any other."""
    field, code = f"{prefix}subject", RuleCode.SUBJECT
    has_subject = None if parts.channel is None else CHANNELS[parts.channel].has_subject
    if has_subject and not (subject or "").strip():
        missing = f"`{field}` is {'blank' if subject else 'missing'}; " if prefix else ""
        message = f"{missing}an {parts.channel} needs a subject"
        return Compiled(None, (error(message, code=code, field=field if subject else prefix.rstrip(".")),))
    if subject is None:
        return Compiled(None)
    if has_subject is False:
        message = f"type {parts.channel} has no subject"
        return Compiled(None, (error(message, code=code, field=field, hint="leave it out"),))
    diagnostics: list[Diagnostic] = []
    if len(subject.splitlines()) > 1 or subject != subject.strip("\r\n"):
        diagnostics.append(error("subject is more than one line", code=code, field=field))
    segments, found = parse(subject, ContentType.TEXT, families=parts.families, locale=locale)
    return Compiled(segments, (*diagnostics, *of_text(found, field)))


def _compile_body(parts: TemplateParts, prefix: str, locale: str) -> Compiled[tuple[Segment, ...]]:
    """T09, T10, T12, T13, T21 and T22: a body that is there, of a length that can be sent, and a whole document."""
    source, content, families = parts.parsed.bodies[prefix], parts.content_type, parts.families
    if source.diagnostics or source.text is None or content is None or not families:
        return Compiled((), source.diagnostics)
    field = f"{prefix}body"
    body, found = parse(source.text, content, families=families, locale=locale)
    spec = None if parts.channel is None else CHANNELS[parts.channel]
    diagnostics = [*of_text(found, field), *_check_length(body, field, parts.channel)]
    # JSON and XML are checked as a whole, with values; a place in HTML by what stands before it.
    if content is ContentType.HTML or all(diagnostic.is_warning for diagnostic in found):
        diagnostics += of_text(check_document(body, content, families), field)
    if content is ContentType.TEXT and spec is not None and spec.recipients:
        diagnostics += of_text(check_hosts(body), field)
    return Compiled(place_placeholders(body)[0] if content is ContentType.HTML else body, tuple(diagnostics))


_EMOJI: Final = re.compile("[\u2600-\u27bf\ufe0f\U0001f000-\U0001faff]")


def _check_length(body: tuple[Segment, ...], field: str, channel: Channel | None) -> Iterator[Diagnostic]:
    """The fixed text of a body against what can be published, and what the channel takes (T10)."""
    fixed = "".join(piece for piece in body if isinstance(piece, str))
    if (size := len(fixed.encode())) > MAX_RECORD_BYTES:
        message = f"the fixed text alone is {size} bytes; no message may be over {MAX_RECORD_BYTES}"
        yield error(message, field=field)
        return
    limit, code = None if channel is None else CHANNELS[channel].text_limit, RuleCode.SMS_LENGTH
    if limit is None:
        return
    if len(fixed) > limit.limit_characters:
        message = f"the fixed text alone has {len(fixed)} characters; an {channel} takes {limit.limit_characters}"
        yield error(message, code=code, field=field)
    elif len(fixed) > limit.advised_characters:
        message = f"the fixed text alone has {len(fixed)} characters: more than one {channel} of "
        yield warning(f"{message}{limit.advised_characters}", code=code, field=field)
    if emoji := _EMOJI.search(fixed):
        message = f"{emoji.group()!r} may be refused by an {channel} gateway"
        yield warning(message, code=code, field=field, excerpt=emoji.group())


# ------------------------------------------------------------------------------------------------------------ template


def build_template(parts: TemplateParts, tenant: str) -> Template:
    """The template of parts that no check has an error for. InternalError when one is missing all the same."""
    file, channel, content_type = parts.file, parts.channel, parts.content_type
    target, subscription, url = parts.target, parts.subscription, parts.url.value
    if not (file.id and file.version and file.name and channel and target and subscription and content_type):
        raise InternalError(f"{parts.parsed.path.name}: a field is missing, and no diagnostic says so")
    texts = {tag: replace(text, url=url) for tag, text in parts.texts.value.items()}
    return Template(
        id=TemplateId(file.id),
        key=file.key or template_key(tenant, TemplateId(file.id)),
        version=file.version,
        name=file.name.strip(),
        type=channel,
        events=parts.events.value,
        target=target,
        recipient=parts.recipient,
        recipient_role=file.recipient_role,
        recipient_field=parts.recipient_field.value,
        content_type=content_type,
        text=texts.pop(""),
        default_locale=file.default_locale,
        texts=texts,
        category=file.category,
        attachments=tuple(map(_attachment, file.attachment)),
        trigger_days=file.trigger_days,
        match=Match(file.match),
        conditions=parts.conditions.value,
        subscription=subscription,
        active=file.active,
        strict=file.strict,
        content=_canonical_content(parts.parsed),
    )


def _attachment(section: AttachmentSection) -> Attachment:
    return Attachment(
        id=section.id,
        name=section.name,
        contentType=section.content_type,
        fileSize=section.file_size,
        fileName=section.file_name,
        href=section.href,
    )


def _canonical_content(parsed: ParsedFile) -> str:
    """The file as canonical JSON with its bodies, wherever they stand; samples are no part of it."""
    content: dict[str, Any] = parsed.file.model_dump(exclude={"sample", "condition"})
    sections = {f"locale.{tag}.": section for tag, section in content["locale"].items()}
    for prefix, section in {"": content, **sections}.items():
        section["body"] = parsed.bodies[prefix].text
        del section["body_file"]
    content["condition"] = [section.canonical() for section in parsed.file.condition]
    return json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
