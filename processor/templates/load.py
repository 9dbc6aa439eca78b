"""Template files: TOML on disk to a set of templates, all or nothing, with everything that is wrong at once.

Rules are numbered T01 to T22 as in the domain's reference; what is not there yet is refused by name, never passed over.
"""

import json
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, tzinfo
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from processor.domain.catalogue import EVENTS, FAMILIES, EventRow, Target, nearest_event
from processor.domain.channel import CHANNELS, AddressKind, Channel, ContentType, RecipientKind
from processor.domain.diagnostic import Diagnostic, Location, Severity
from processor.domain.event import Event
from processor.domain.ids import template_key
from processor.domain.language import LanguageKey, language_key, normalize_tag
from processor.domain.message import FailedTemplate, SkippedTemplate, State
from processor.domain.notification import CATEGORY_ID, Attachment
from processor.domain.placeholders import ENTITIES, MANUAL
from processor.domain.reasons import DecisionReason
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
    TemplateSet,
    Text,
    template_set,
)
from processor.domain.text import closest_match, did_you_mean, nfc, truncate
from processor.errors import InternalError, UsageError
from processor.files import UnfitError, file_bytes, file_text, is_visible
from processor.mapping.map import Draft, draft, event_type
from processor.mapping.notification import attachment_href
from processor.mapping.reference import subscriptions_alone
from processor.mapping.render import holds_control
from processor.settings import Settings
from processor.templates.conditions import compile_condition
from processor.templates.disguises import spelt, spelt_custom, visible
from processor.templates.document import check_document, check_hosts
from processor.templates.html_scanner import place
from processor.templates.language_tags import check_tag
from processor.templates.text import (
    MAX_DIAGNOSTICS_PER_TEXT,
    check_spelling,
    first_placeholder,
    parse,
    parse_custom_field,
)
from processor.templates.webhook import (
    AUTHORIZATIONS,
    REQUEST_TYPES,
    check_authorization,
    check_headers,
    check_url,
)
from processor.wire.decode import Fault, event_of_json, unknown_fields_of_json
from processor.wire.schema import Schemas

# Keys of templates are derived from the tenant, and nothing that is checked depends on which one it is.
_ANY_TENANT: Final = "tenant"

SHIPPED: Final = Path(__file__).parent.parent / "shipped"

NAME_LIMIT_CHARACTERS: Final = 255
CONDITIONS_LIMIT: Final = 100  # each is asked of each event
OPERANDS_LIMIT: Final = 1000
TRIGGER_DAYS_LIMIT: Final = 365
ID_HINT: Final = "1 to 63 of a-z, 0-9 and -, not - at first"
ATTACHMENTS_LIMIT: Final = 100
TEXT_LIMIT_CHARACTERS: Final = 1024
FINDING_LIMIT_CHARACTERS: Final = 800
_VALUE_LIMIT_CHARACTERS: Final = 80
VERSION_LIMIT: Final = 2**31 - 1  # a status carries it as Avro's int
BODY_LIMIT_BYTES: Final = 999_000  # no output may be larger, so a longer fixed text could never be published


# ---------------------------------------------------------------------------------------------------------- findings


@dataclass(frozen=True, slots=True)
class Rules:
    """What an installation allows its templates: webhooks without TLS, which channels for an event, and the
    region of phone numbers in samples."""

    allow_http: bool = False
    channels_of: Callable[[EventRow], frozenset[Channel]] = lambda row: row.channels
    sms_region: str | None = None


@dataclass(frozen=True, slots=True)
class SampleRun:
    """A sample that was rendered; `passed` is whether it gave what it expects. `event` is None when it is none.

    `subscribed`: whether the event's holder is.
    """

    template: TemplateId
    name: str
    passed: bool
    event: Event | None
    subscribed: bool


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What a directory holds. `templates` is None when a diagnostic is an error: all or nothing.

    `renderable` has the templates that can be rendered, also when others cannot; `files` is how many there are.
    """

    directory: Path
    templates: TemplateSet | None
    diagnostics: tuple[Diagnostic, ...]
    files: int
    samples: tuple[SampleRun, ...]
    renderable: tuple[Template, ...] = ()


def load_templates(settings: Settings, schemas: Schemas | None) -> LoadResult:
    """What the settings' directory holds. Without a tenant templates get keys that are nobody's."""
    return read_templates(
        settings.templates_dir,
        tenant=settings.tenant or _ANY_TENANT,
        schemas=schemas,
        time_zone=ZoneInfo(settings.time_zone),
        rules=Rules(settings.webhook.allow_http, settings.channels.of, settings.sms.region),
    )


def require_usable(loaded: LoadResult) -> TemplateSet:
    """The set. Raises UsageError that lists every finding that is not a warning; then nothing is loaded."""
    if loaded.templates is None:
        errors = [diagnostic for diagnostic in loaded.diagnostics if diagnostic.is_error]
        count = "1 finding" if len(errors) == 1 else f"{len(errors)} findings"
        raise UsageError(
            f"templates in {loaded.directory}: {count}, nothing loaded\n" + "\n".join(map(str, errors)),
            hint="`processor check` shows the same and connects to nothing",
        )
    return loaded.templates


def read_templates(
    directory: Path | None,
    *,
    tenant: str,
    schemas: Schemas | None,
    time_zone: tzinfo = UTC,
    rules: Rules | None = None,
) -> LoadResult:
    """All `*.toml` in `directory` (None: the shipped ones), their samples, and what is wrong with them.

    Blocks on the disk, and raises nothing for what is there. Without `schemas` no sample can be read, so none is run.
    `rules` are the installation's own, None the usual ones.
    """
    directory = SHIPPED if directory is None else directory
    try:
        paths = template_paths(directory)
    except OSError as error:
        diagnostic = _nothing_there(directory, f"cannot be read: {error.strerror}")
        return LoadResult(directory, None, (diagnostic,), 0, ())
    if not paths:
        return LoadResult(directory, None, (_nothing_there(directory, "has no *.toml"),), 0, ())

    drafts = [_Reading(path, directory, rules or Rules()) for path in paths]
    templates = [template for one in drafts if (template := one.read(tenant)) is not None]
    _check_unique(drafts)
    samples = [] if schemas is None else [run for one in drafts for run in one.run_samples(schemas, time_zone)]
    diagnostics = sorted((diagnostic for draft in drafts for diagnostic in draft.diagnostics), key=_by_place)
    usable = template_set(templates) if all(diagnostic.is_warning for diagnostic in diagnostics) else None
    return LoadResult(directory, usable, tuple(diagnostics), len(paths), tuple(samples), tuple(templates))


def _by_place(diagnostic: Diagnostic) -> tuple[str, int, str, str]:
    location = diagnostic.location
    return location.file, location.line or 0, diagnostic.code, diagnostic.message


def template_paths(directory: Path) -> list[Path]:
    """The template files of `directory`, in order of their names. Raises OSError as `iterdir` does."""
    return sorted(path for path in directory.iterdir() if path.suffix == ".toml" and is_visible(path))


def _nothing_there(directory: Path, message: str) -> Diagnostic:
    hint = "PROCESSOR_TEMPLATES_DIR names the directory; without it the shipped templates are used"
    return Diagnostic(message=message, hint=hint, location=Location(file=str(directory)))


# -------------------------------------------------------------------------------------------------------------- shape


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _Expected(_Shape):
    subject: str | None = None
    body: str | None = None
    destination: str | None = None
    state: str | None = None


class _Sample(_Shape):
    name: str
    event: str
    subscribed: bool = True  # whether the event's holder is, whatever the template's option
    expected: _Expected = _Expected()


class _Attachment(_Shape):
    id: str
    name: str
    content_type: str
    file_size: int
    file_name: str
    href: str = ""  # never empty where it is left out

    @model_validator(mode="before")
    @classmethod
    def _with_href(cls, given: Any) -> Any:
        if isinstance(given, dict) and "href" not in given and isinstance(given.get("id"), str):
            return {**given, "href": attachment_href(given["id"])}
        return given


class _Locale(_Shape):
    subject: str | None = None
    body: str | None = None
    body_file: str | None = None


class _Webhook(_Shape):
    url: str | None = None
    request_type: str = "POST"
    headers: dict[str, str] = {}
    authorization: str = "NO_AUTHORIZATION"
    username: str | None = None
    password_env: str | None = None


class _Condition(_Shape):
    field: str | None = None
    operator: str | None = None
    value: Any = None
    second_value: Any = None
    values: list[Any] | None = None

    @property
    def given(self) -> dict[str, list[Any]]:
        """The operands that are there, by name."""
        one = {"value": self.value, "second_value": self.second_value}
        given = {name: [value] for name, value in one.items() if value is not None}
        return given if self.values is None else {**given, "values": self.values}

    def canonical(self) -> dict[str, Any]:
        """What it says, whatever TOML types its operands have."""
        operands = {name: [_operand_text(value) for value in values] for name, values in self.given.items()}
        return {"field": self.field, "operator": self.operator, **operands}


class _File(_Shape):
    # What is None and must not be is said by a finding of its own, so that all else can be checked in the same go.
    id: str | None = None
    key: str | None = None
    version: int | None = None
    name: str | None = None
    type: str | None = None
    event: str | list[str] | None = None
    target: str | None = None
    recipient: str | None = None
    recipient_role: str | None = None
    recipient_field: str | None = None
    subject: str | None = None
    body: str | None = None
    body_file: str | None = None
    content_type: str | None = None
    webhook: _Webhook | None = None
    category: str | None = None
    attachment: list[_Attachment] = []
    trigger: str = "AUTOMATIC"
    trigger_days: int | None = None
    match: str = Match.ALL.value
    condition: list[_Condition] = []
    subscription: str | None = None
    active: bool = True
    strict: bool = False
    default_locale: str = "en"
    locale: dict[str, _Locale] = {}
    sample: list[_Sample] = []

    @property
    def events(self) -> list[str]:
        return [self.event] if isinstance(self.event, str) else self.event or []


_REQUIRED: Final = ("id", "version", "name", "type", "event", "target", "subscription")

_WORDS: Final[Mapping[str, Iterable[str]]] = {  # field -> the words it may be
    "type": Channel,
    "target": Target,
    "recipient": RecipientKind,
    "subscription": Subscription,
    "trigger": ("AUTOMATIC", MANUAL),
    "match": Match,
}

# Fields of the domain that no template can use yet. Named here so that nobody looks for a misspelling.
_NOT_YET: Final = ("ordered",)

_HELD_IN_ORDER: Final = (Target.CLIENT, Target.GROUP, Target.LOANS, Target.SAVINGS)
_HELD: Final = frozenset(_HELD_IN_ORDER)
_RECIPIENT_TARGETS: Final[Mapping[RecipientKind, frozenset[Target]]] = {  # T06
    RecipientKind.CLIENT: _HELD - {Target.GROUP},
    RecipientKind.GROUP: _HELD - {Target.CLIENT},
    RecipientKind.GROUP_ROLE: _HELD - {Target.CLIENT},
    RecipientKind.CREDIT_OFFICER: _HELD,
    RecipientKind.CUSTOM_FIELD: _HELD,
}

# What a template may be that a person sends.
_MANUAL_CHANNELS: Final = frozenset(channel for channel, spec in CHANNELS.items() if spec.can_be_manual)

_CONTROL: Final = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f]")
_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_KEY: Final = re.compile(r"[0-9a-f]{32}")
_ATTACHMENT: Final = re.compile(r"ATT-\d{4}-\d{4}-\d{4}", re.ASCII)
_LONG: Final = 2**63 - 1
_EMOJI: Final = re.compile("[\u2600-\u27bf\ufe0f\U0001f000-\U0001faff]")


def is_template_id(text: str) -> bool:
    """Whether a template, and so its file, can be called so."""
    return _ID.fullmatch(text) is not None


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a template file, by which editors complete and check it.

    It knows shapes and words; what belongs together only `processor check` knows.
    """
    schema = _File.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Template"
    schema["required"] = list(_REQUIRED)
    properties = schema["properties"]
    for name, words in _WORDS.items():
        properties[name] = {"enum": [str(word) for word in words]}
    names = {"enum": [*EVENTS, MANUAL]}
    properties["event"] = {"anyOf": [names, {"type": "array", "items": names, "minItems": 1, "uniqueItems": True}]}
    properties["id"] = {"type": "string", "pattern": f"^{_ID.pattern}$"}
    properties["version"] = {"type": "integer", "minimum": 1, "maximum": VERSION_LIMIT}
    schema["$defs"]["_Condition"]["properties"]["operator"] = {"enum": [operator.value for operator in Operator]}
    webhook = schema["$defs"]["_Webhook"]["properties"]
    webhook["request_type"], webhook["authorization"] = {"enum": [*REQUEST_TYPES]}, {"enum": [*AUTHORIZATIONS]}
    return schema


# -------------------------------------------------------------------------------------------------- texts by version

UsedTexts = Mapping[tuple[TemplateId, int], Collection[bytes]]
"""By id and version of a template, the `text_digest` of each text that was used under them."""


def text_digest(content: str) -> bytes:
    """What a version of a template stands for, of its `content`: 16 bytes, equal for contents that say the same.

    A field that the content lacks counts as its default, and one that no template has does not count: other versions of
    this program have other fields, and none of them changes what an author wrote. Nor do the values of a webhook's
    headers count, which may be secrets that are rotated. ValueError for what is no content of a template.
    """
    try:
        whole = _with_defaults(_File, json.loads(content))
        if whole["webhook"] is not None:
            whole["webhook"] = _with_defaults(_Webhook, whole["webhook"])
            whole["webhook"]["headers"] = sorted(whole["webhook"]["headers"])
        whole["locale"] = {tag: _with_defaults(_Locale, text) for tag, text in dict(whole["locale"]).items()}
        whole["attachment"] = [_with_defaults(_Attachment, attachment) for attachment in whole["attachment"]]
        text = json.dumps(whole, sort_keys=True)
    except (RecursionError, TypeError) as error:
        raise ValueError(f"not the content of a template: {error}") from error
    return blake2b(text.encode(), digest_size=16).digest()


def _with_defaults(shape: type[_Shape], given: Any) -> dict[str, Any]:
    """The fields of `shape`, as given or by default, None for one that has neither. TypeError when there are none."""
    if not isinstance(given, dict):
        raise TypeError("an object is missing")
    defaults = {name: None if field.is_required() else field.default for name, field in shape.model_fields.items()}
    return {name: given.get(name, default) for name, default in defaults.items()}


def refuse_changed_texts(templates: TemplateSet, used: UsedTexts) -> None:
    """Raise UsageError when a template has another text than those that were used under its version."""
    changed = [
        template
        for template in templates.templates
        if (texts := used.get((template.id, template.version))) and text_digest(template.content) not in texts
    ]
    if changed:
        others = f"; and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise UsageError(
            f"{changed[0].id} has other content under version {changed[0].version}, which was used before{others}",
            hint="raise its version, or undo the change",
        )


# ----------------------------------------------------------------------------------------------------------- one file


class _Reading:
    """One file while it is read: what it says, what came of it, and what is wrong with it."""

    def __init__(self, path: Path, directory: Path, rules: Rules) -> None:
        self.path = path
        self.directory = directory
        self._rules = rules
        self.diagnostics: list[Diagnostic] = []
        self.template: Template | None = None
        self._lines: Mapping[str, int] = {}
        self._source = ""
        self._unescaped = ""
        self._bodies: dict[str, str] = {}
        self._body_files: dict[str, tuple[str, str]] = {}  # key of a body -> the file that has it, and its text
        self._misfits: set[str] = set()
        self._file: _File | None = None

    def find(
        self, rule: str, what: str, *, key: str = "", token: str = "", hint: str = "", warning: bool = False
    ) -> None:
        """Note a finding at the line of `key`, else of what it is in, or of `token` at or below it.

        One in a body that is a file of its own names that file, with the line of `token` there.
        """
        if key in self._body_files:
            name, text = self._body_files[key]
            before, found, _ = text.partition(token) if token else (text, "", "")
            number = before.count("\n") + 1
            what = f"{name}:{number}: {what}" if found else f"{name}: {what}"
            key, token = f"{key}_file", ""
        while key not in self._lines and "." in key:
            key = key.rpartition(".")[0]
        line = self._lines.get(key)
        if token:
            line = self._line_of(token, line)
        # What a file says may be long, and may hold what a terminal would obey or nobody would see.
        what = _CONTROL.sub("\ufffd", truncate(visible(what), FINDING_LIMIT_CHARACTERS))
        severity = Severity.WARNING if warning else Severity.ERROR
        location = Location(file=self.path.name, line=line)
        self.diagnostics.append(Diagnostic(message=what, code=rule, severity=severity, hint=hint, location=location))

    def _line_of(self, token: str, line: int | None) -> int | None:
        """The first line at or below `line` that has `token`, as it is or with TOML's escapes; else `line`."""
        start = (line or 1) - 1
        for source, wanted in (
            (self._source, token),
            (self._unescaped, token),
            (self._unescaped, token.replace("\n", "\\n")),
        ):
            text = "\n".join(source.split("\n")[start:])
            if (at := text.find(wanted)) >= 0:
                return start + 1 + text.count("\n", 0, at)
        return line

    def read(self, tenant: str) -> Template | None:
        """The template, or None when something is wrong with it (see `diagnostics`)."""
        file = self._shape()
        if file is None:
            return None
        self._file = file
        channel: Channel | None = _word(file.type, Channel)
        target: Target | None = _word(file.target, Target)
        recipient: RecipientKind | None = _word(file.recipient, RecipientKind)
        subscription: Subscription | None = _word(file.subscription, Subscription)
        self._check_words(file)
        self._check_identity(file)
        events = self._events(file)
        if channel is not None:
            self._check_channel(events, channel)
        if target is not None:
            self._check_target(events, target)
        field = self._recipient(file, channel, target, recipient)
        content = self._content_type(file, channel)
        families = {_family(event): event for event in reversed(events)}
        self._check_trigger_days(file)
        conditions = self._conditions(file, families)
        texts = self._texts(file, channel, content, families)
        url = self._webhook(file, channel, families)
        self._check_notification(file, channel)
        if any(diagnostic.is_error for diagnostic in self.diagnostics):
            return None
        if not (file.id and file.version and file.name and channel and target and subscription and content):
            raise InternalError(f"{self.path.name}: a field is missing, and no finding says so")
        self.template = Template(
            id=TemplateId(file.id),
            key=file.key or template_key(tenant, TemplateId(file.id)),
            version=file.version,
            name=file.name.strip(),
            type=channel,
            events=tuple(events),
            target=target,
            recipient=recipient,
            recipient_role=file.recipient_role,
            recipient_field=field,
            content_type=content,
            text=replace(texts[""], url=url),
            default_locale=file.default_locale,
            texts={tag: replace(text, url=url) for tag, text in texts.items() if tag},
            category=file.category,
            attachments=tuple(_attachment(one) for one in file.attachment),
            trigger_days=file.trigger_days,
            match=Match(file.match),
            conditions=conditions,
            subscription=subscription,
            active=file.active,
            strict=file.strict,
            content=self._content(file),
        )
        return self.template

    def _shape(self) -> _File | None:
        """The file's fields, each of its type; None when it is not such a file."""
        try:
            self._source = file_text(self.path).replace("\r\n", "\n")
            self._unescaped = _TOML_ESCAPE.sub(_unescaped, self._source)
            raw = tomllib.loads(self._source, parse_float=_Float)
        except UnfitError as unfit:
            self.find("", str(unfit))
            return None
        except OSError as error:
            self.find("", f"cannot be read: {error.strerror}")
            return None
        except UnicodeDecodeError as error:
            self.find("", f"is not UTF-8, at byte {error.start}")
            return None
        except tomllib.TOMLDecodeError as error:
            said, _, place = str(error).partition(" (at line ")
            line = int(place.split(",")[0]) if place else None
            message = f"is not TOML: {said[:1].lower()}{said[1:]}"
            self.diagnostics.append(Diagnostic(message=message, location=Location(file=self.path.name, line=line)))
            return None
        except RecursionError:
            self.find("", "is not TOML that can be read: nested too deeply")
            return None
        except ValueError:  # of Python's own limit, when a number has thousands of digits
            self.find("", "is not TOML that can be read: a number has too many digits")
            return None
        self._lines = _line_numbers(self._source)
        try:
            file = _File.model_validate(raw)
        except ValidationError as error:
            for fault in error.errors():
                self._misshapen(fault["type"], fault["loc"], fault["msg"])
                _take_out(raw, fault["loc"])
            file = _File.model_validate(raw)
        for name in _REQUIRED:
            if getattr(file, name) is None and name not in self._misfits:
                self.find("", f"field `{name}` is missing")
        return file

    def _misshapen(self, kind: str, place: tuple[int | str, ...], message: str) -> None:
        # The branches of `event: str | list[str]` are said once, in words.
        place = tuple(step for step in place if step not in ("str", "list[str]"))
        key = ".".join(map(str, place))
        self._misfits |= {str(place[0]), key}
        if kind == "missing":
            parent = ".".join(map(str, place[:-1]))
            self.find("", f"field `{_cut(_shown(place))}` is missing", key=parent)
        elif kind == "extra_forbidden" and key in _NOT_YET:
            self.find("", f"`{key}` is not supported yet", key=key, hint="leave it out")
        elif kind == "extra_forbidden":
            self.find("", f"unknown field `{_cut(_shown(place))}`", key=key, hint=_instead(place))
        elif place[0] == "event":
            if all("`event`" not in diagnostic.message for diagnostic in self.diagnostics):
                self.find("T03", "`event` must be an event's name or a list of names", key="event")
        else:
            said = _TYPE_WORDS.get(kind, message[:1].lower() + message[1:])
            hint = f"write [[{key}]], in two brackets" if key in _ARRAYS else ""
            self.find("", f"`{_cut(_shown(place))}` {said}", key=key, hint=hint)

    def names(self) -> Iterator[tuple[str, str, str, str]]:
        """What no two files may share: rule, field, value, and the form in which values are compared."""
        if self._file is None:
            return
        if self._file.id is not None:
            yield "T02", "id", self._file.id, self._file.id
        if (key := self.template.key if self.template else self._file.key) is not None:
            yield "T02", "key", key, key
        if self._file.name is not None:
            yield "T01", "name", self._file.name.strip(), nfc(self._file.name.strip()).casefold()

    def _check_words(self, file: _File) -> None:
        rules = {"target": "T05", "recipient": "T06", "trigger": "T03", "match": "T18"}
        for name, words in _WORDS.items():
            self._check_word(name, getattr(file, name), words, rule=rules.get(name, ""))

    def _check_word(self, key: str, word: str | None, known: Iterable[str], *, rule: str = "") -> None:
        """A word that is not one of a closed list, in the field at `key`; None is a field that is not there."""
        known = [str(one) for one in known]
        if word is None or word in known:
            return
        hint = _nearest(word, known) or f"one of: {', '.join(known)}"
        self.find(rule, f"unknown {key.rpartition('.')[2]} {_cut(word)!r}", key=key, hint=hint)

    def _check_identity(self, file: _File) -> None:
        name = (file.name or "").strip()
        if file.name is not None and not name:
            self.find("T01", "name is blank", key="name")
        elif len(name) > NAME_LIMIT_CHARACTERS:
            self.find("T01", f"name has {len(name)} characters, at most {NAME_LIMIT_CHARACTERS}", key="name")
        if holds_control(name):
            self.find("T01", "name holds a control character or a line break", key="name")
        if token := first_placeholder(name):
            self.find(
                "T01", f"name holds {_shown_token(token)}", key="name", hint="a name is the same for all messages"
            )
        if file.id is not None and not is_template_id(file.id):
            self.find("T02", f"id {_cut(file.id)!r} is not an id", key="id", hint=ID_HINT)
        elif file.id is not None and self.path.name != f"{file.id}.toml":
            self.find("T02", f"id {file.id!r} belongs in {file.id}.toml", key="id", hint="a file is named by its id")
        if file.key is not None and not _KEY.fullmatch(file.key):
            self.find("T02", f"key {_cut(file.key)!r} is not 32 hexadecimal digits, lower case", key="key")
        if file.version is not None and not 1 <= file.version <= VERSION_LIMIT:
            what = f"version {_whole_text(file.version)} is not a whole number from 1 to {VERSION_LIMIT}"
            self.find("", what, key="version")
        if wrong := check_tag(file.default_locale):
            what = f"default_locale {_cut(file.default_locale)!r} {wrong.message}"
            self.find("", what, key="default_locale", hint=wrong.hint, warning=wrong.is_warning)

    def _events(self, file: _File) -> list[EventName]:
        found = []
        if file.event == []:
            self.find("T03", "`event` names no event", key="event")
        for name in file.events:
            if name == MANUAL and file.trigger != MANUAL:
                self.find("T03", "event MANUAL goes with trigger MANUAL", key="event", hint='trigger = "MANUAL"')
            elif name != MANUAL and file.trigger == MANUAL:
                what = f"trigger MANUAL goes with the one event MANUAL, not with {_cut(name)!r}"
                self.find("T03", what, key="event")
            elif name == "DO_NOTHING":
                self.find("T03", "event DO_NOTHING is never told", key="event")
            elif name not in EVENTS and name != MANUAL:
                self.find("T03", f"unknown event {_cut(name)!r}", key="event", hint=did_you_mean(nearest_event(name)))
            elif name in found:
                self.find("T03", f"event {name} is named twice", key="event")
            else:
                found.append(EventName(name))
        return found

    def _check_channel(self, events: Iterable[EventName], channel: Channel) -> None:
        for event in events:
            channels = _MANUAL_CHANNELS if event == MANUAL else self._rules.channels_of(EVENTS[event])
            if channel not in channels:
                allowed = ", ".join(sorted(channels)) or "none"
                self.find("T04", f"{event} is not told by {channel}", key="type", hint=f"its channels: {allowed}")

    def _check_target(self, events: Iterable[EventName], target: Target) -> None:
        for event in events:
            allowed = _targets_of(event)
            if target not in allowed:
                self.find("T05", f"{event} is not about {target}", key="target", hint=f"one of: {', '.join(allowed)}")

    def _recipient(
        self, file: _File, channel: Channel | None, target: Target | None, recipient: RecipientKind | None
    ) -> CustomField | None:
        if channel is not None:
            self._check_recipient(file, channel, recipient)
        if recipient is not None and target is not None and target not in _RECIPIENT_TARGETS[recipient]:
            fitting = ", ".join(sorted(_RECIPIENT_TARGETS[recipient]))
            self.find("T06", f"recipient {recipient} does not fit target {target}", key="recipient", hint=fitting)
        if recipient is RecipientKind.GROUP_ROLE and not (file.recipient_role or "").strip():
            self.find("T07", "recipient GROUP_ROLE needs `recipient_role`", key="recipient")
        if recipient is not RecipientKind.GROUP_ROLE and file.recipient_role is not None:
            self.find("T07", "`recipient_role` goes with recipient GROUP_ROLE only", key="recipient_role")
        if recipient is not RecipientKind.CUSTOM_FIELD and file.recipient_field is not None:
            self.find("T07", "`recipient_field` goes with recipient CUSTOM_FIELD only", key="recipient_field")
        if recipient is RecipientKind.CUSTOM_FIELD:
            given = file.recipient_field or ""
            meant = spelt(given) or f"CF:{spelt_custom(given)}"
            try:
                field = parse_custom_field(given.removeprefix("CF:"))
            except ValueError as error:
                hint = 'as in recipient_field = "CF:CLIENT:Second e-mail"'
                self.find("T07", f"recipient CUSTOM_FIELD needs `recipient_field`: {error}", key="recipient", hint=hint)
                return None
            if not meant.startswith("CF:"):
                what = f"recipient_field {_cut(given)!r} is the name of a placeholder, not of a custom field"
                hint = f'"CF:{given}" is the custom field that is called so'
                self.find("T21", what, key="recipient_field", hint=hint)
            elif given.startswith(("CF:", *(f"{entity}:" for entity in ENTITIES))) or spelt(given) == "":
                self._note_all(check_spelling(given.removeprefix("CF:"), given, '"CF:{}"'), "recipient_field")
            else:
                disguised = Diagnostic(
                    message="looks like another custom field",
                    code="T21",
                    hint=f'write "{meant}"',
                    location=Location(excerpt=given),
                )
                self._note_all((disguised,), "recipient_field")
            return field
        return None

    def _check_recipient(self, file: _File, channel: Channel, recipient: RecipientKind | None) -> None:
        spec = CHANNELS[channel]
        hint = "CREDIT_OFFICER" if spec.is_for_staff else f"one of: {', '.join(spec.recipients)}"
        if not spec.recipients and file.recipient is not None:
            self.find("T06", f"type {channel} has no recipient", key="recipient", hint="leave it out")
        if spec.is_for_staff and recipient not in (None, *spec.recipients):
            what = f"a {channel} is for a user of the bank, not for recipient {recipient}"
            self.find("T06", what, key="recipient", hint=hint)
        if spec.recipients and file.recipient is None:
            self.find("T06", f"`recipient` is missing; type {channel} needs one", key="type", hint=hint)

    def _content_type(self, file: _File, channel: Channel | None) -> ContentType | None:
        if channel is None:
            return None
        spec, allowed = CHANNELS[channel], CHANNELS[channel].content_types
        if file.content_type is None:
            if spec.default_content is None:
                hint = f"one of: {', '.join(one for one in allowed if '/' in one)}"
                self.find("T11", f"`content_type` is missing; type {channel} needs one", key="type", hint=hint)
            return spec.default_content
        if not allowed:
            self.find("T11", f"type {channel} has no content_type", key="content_type", hint="leave it out")
        elif file.content_type not in allowed:
            hint = f"one of: {', '.join(one for one in allowed if '/' in one)}"
            what = f"content_type {_cut(file.content_type)!r} is not for type {channel}"
            self.find("T11", what, key="content_type", hint=hint)
        return allowed.get(file.content_type)

    # -------------------------------------------------------------------------------------------------- conditions

    def _check_trigger_days(self, file: _File) -> None:
        if file.trigger_days is None:
            return
        others = [name for name in file.events if name != "REPAYMENT_REMINDER"]
        if others:
            what = f"trigger_days goes with event REPAYMENT_REMINDER only, not with {_cut(others[0])}"
            self.find("T17", what, key="trigger_days", hint="leave it out")
        if not -TRIGGER_DAYS_LIMIT <= file.trigger_days <= TRIGGER_DAYS_LIMIT:
            what = f"trigger_days {_whole_text(file.trigger_days)} is not from -365 to 365"
            self.find("T17", what, key="trigger_days", hint="days until the instalment is due, negative once overdue")

    def _conditions(self, file: _File, families: Mapping[str, EventName]) -> tuple[Condition, ...]:
        """The conditions that are whole (T18)."""
        if file.condition and MANUAL in families:
            hint = "leave them out: whoever sends it decides"
            self.find("T18", "a template with trigger MANUAL has no conditions", key="condition", hint=hint)
            return ()
        if len(file.condition) > CONDITIONS_LIMIT:
            what = f"{len(file.condition)} conditions; a template has at most {CONDITIONS_LIMIT}"
            self.find("T18", what, key="condition")
            return ()
        compiled = (self._condition(one, index, families) for index, one in enumerate(file.condition))
        return tuple(one for one in compiled if one is not None)

    def _condition(self, one: _Condition, index: int, families: Mapping[str, EventName]) -> Condition | None:
        key, place = f"condition.{index}", f"condition[{index + 1}]"
        if key in self._misfits:
            return None
        for name in ("field", "operator"):
            if getattr(one, name) is None and f"{key}.{name}" not in self._misfits:
                self.find("T18", f"field `{place}.{name}` is missing", key=key)
        self._check_word(f"{key}.operator", one.operator, Operator, rule="T18")
        operator: Operator | None = _word(one.operator, Operator)
        operands: dict[str, list[str]] = {}
        for name, values in one.given.items():
            texts = [_operand_text(value) for value in values]
            operands[name] = [text for text in texts if text is not None]
            if len(operands[name]) < len(texts):
                what = f"`{place}.{name}` must be text, a number, true or false, or a day or moment"
                self.find("T18", what, key=f"{key}.{name}")
                operator = None
            elif len(texts) > OPERANDS_LIMIT:
                what = f"`{place}.{name}` has {len(texts)} values, at most {OPERANDS_LIMIT}"
                self.find("T18", what, key=f"{key}.{name}")
                operator = None
        if one.field is None:
            return None
        if any(f"{key}.{name}" in self._misfits for name in _Condition.model_fields):
            operator = None
        condition, diagnostics = compile_condition(one.field, operator, operands, families=families)
        for name in dict.fromkeys(diagnostic.location.field for diagnostic in diagnostics):
            of_field = [diagnostic for diagnostic in diagnostics if diagnostic.location.field == name]
            self._note_all(of_field, f"{key}.{name}")
        return condition

    # ------------------------------------------------------------------------------------------------------- texts

    def _texts(
        self,
        file: _File,
        channel: Channel | None,
        content: ContentType | None,
        families: Mapping[str, EventName],
    ) -> dict[str, Text]:
        """The texts by locale tag, the top level's under the empty one."""
        texts = {"": self._text(file, "", channel, content, families, file.default_locale)}
        seen: dict[LanguageKey, str] = {}
        if file.locale and (nobody := _nobody_with_language(file, families)):
            hint = "the top level is what is sent; leave the sections out"
            first = f"locale.{next(iter(file.locale))}"
            self.find("", f"no [locale] section can be chosen: {nobody}", key=first, hint=hint, warning=True)
        for language, variant in file.locale.items():
            key, section = f"locale.{language}", f"[locale.{json.dumps(_cut(language), ensure_ascii=False)}]"
            if wrong := check_tag(language):
                self.find("", f"{section} {wrong.message}", key=key, hint=wrong.hint, warning=wrong.is_warning)
                if wrong.is_error:
                    continue
            # Of two that mean the same, one could never be chosen.
            first = seen.setdefault(language_key(language), language)
            if language_key(language) == language_key(file.default_locale):
                hint = f"the top level is in default_locale, {file.default_locale!r}"
                self.find("", f"{section} is the top level's own language", key=key, hint=hint)
            elif first != language:
                hint = "they are the same language; keep one of them"
                self.find("", f"{section} is there twice, also as {json.dumps(first)}", key=key, hint=hint)
            else:
                texts[normalize_tag(language)] = self._text(variant, f"{key}.", channel, content, families, language)
        return texts

    def _text(
        self,
        source: _File | _Locale,
        prefix: str,
        channel: Channel | None,
        content: ContentType | None,
        families: Mapping[str, EventName],
        locale: str,
    ) -> Text:
        subject: tuple[Segment, ...] | None = None
        spec = None if channel is None else CHANNELS[channel]
        subject_key = f"{prefix}subject"
        if spec is not None and spec.has_subject and not (source.subject or "").strip():
            missing = f"`{subject_key}` is {'blank' if source.subject else 'missing'}; " if prefix else ""
            what = f"{missing}an {channel} needs a subject"
            self.find("T08", what, key=subject_key if source.subject else prefix.rstrip("."))
        elif spec is not None and not spec.has_subject and source.subject is not None:
            self.find("T08", f"type {channel} has no subject", key=subject_key, hint="leave it out")
        elif source.subject is not None:
            if len(source.subject.splitlines()) > 1 or source.subject != source.subject.strip("\r\n"):
                self.find("T08", "subject is more than one line", key=subject_key)
            subject, diagnostics = parse(source.subject, ContentType.TEXT, families=families, locale=locale)
            self._note_all(diagnostics, subject_key)
        body_key = f"{prefix}body"
        raw = self._body(source, prefix)
        if raw is None or content is None or not families:
            return Text(subject, ())
        body, diagnostics = parse(raw, content, families=families, locale=locale)
        self._note_all(diagnostics, body_key)
        fixed = "".join(piece for piece in body if isinstance(piece, str))
        if len(fixed.encode()) > BODY_LIMIT_BYTES:
            what = f"the fixed text alone is {len(fixed.encode())} bytes; no message may be over {BODY_LIMIT_BYTES}"
            self.find("", what, key=body_key)
        elif channel is not None:
            self._check_length(fixed, body_key, channel)
        # JSON and XML are checked as a whole, with values; a place in HTML by what stands before it.
        if content is ContentType.HTML or all(diagnostic.is_warning for diagnostic in diagnostics):
            self._note_all(check_document(body, content, families), body_key)
        if content is ContentType.TEXT and spec is not None and spec.recipients:
            self._note_all(check_hosts(body), body_key)
        return Text(subject, place(body)[0] if content is ContentType.HTML else body)

    def _body(self, source: _File | _Locale, prefix: str) -> str | None:
        """The body, from the field or the file it names."""
        if source.body is not None and source.body_file is not None:
            self.find("T09", "`body` and `body_file` are both given", key=f"{prefix}body_file", hint="keep one of them")
            return None
        body = source.body
        if source.body_file is not None:
            raw = self._beside(source.body_file, f"{prefix}body_file")
            if raw is None:
                return None
            try:
                body = raw.decode()
                self._body_files[f"{prefix}body"] = source.body_file, body
            except UnicodeDecodeError as error:
                what = f"{source.body_file} is not UTF-8, at byte {error.start}"
                self.find("T09", what, key=f"{prefix}body_file")
                return None
        if body is None:
            self.find("T09", f"`{prefix}body` is missing", key=prefix.rstrip("."), hint="or name a file by `body_file`")
        elif not body.strip():
            self.find("T09", f"`{prefix}body` is blank", key=f"{prefix}body")
            return None
        else:
            self._bodies[prefix] = body
        return body

    def _beside(self, name: str, key: str) -> bytes | None:
        """The bytes of a file that the template names, which lies in the templates' directory or below it."""
        try:
            path = (self.directory / name).resolve()
        except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a NUL
            self.find("", f"{name!r} is not a file's name: {error}", key=key)
            return None
        if not path.is_relative_to(self.directory.resolve()):
            hint = "body and sample files are named relative to it"
            self.find("", f"{name} is outside of the templates' directory", key=key, hint=hint)
            return None
        try:
            return file_bytes(path)
        except UnfitError as unfit:
            self.find("", f"{name} {unfit}", key=key)
            return None
        except OSError as error:
            files = [
                file.relative_to(self.directory).as_posix()
                for file in islice(self.directory.rglob("*"), _FILES_LOOKED_AT)
                if file.suffix != ".toml" and file.is_file()
            ]
            elsewhere = [file for file in files if Path(file).name == path.name]
            hint = did_you_mean(elsewhere[0] if elsewhere else closest_match(name, files))
            if not hint and key.endswith(".event"):
                hint = "a JSON event, in a file that is named relative to the templates' folder"
            self.find("", f"{name} cannot be read: {error.strerror}", key=key, hint=hint)
            return None

    # ---------------------------------------------------------------------------------------------------- webhooks

    def _webhook(
        self, file: _File, channel: Channel | None, families: Mapping[str, EventName]
    ) -> tuple[Segment, ...] | None:
        """The address of a WEB_HOOK; None when there is none, or it is wrong."""
        webhook, needed = file.webhook, channel is not None and CHANNELS[channel].address is AddressKind.URL
        if needed and webhook is None and "webhook" not in self._misfits:
            hint = 'as in [webhook] url = "https://hooks.example.com/{ACCOUNT_ID}"'
            self.find("T14", f"[webhook] is missing; type {channel} needs one", key="type", hint=hint)
        if channel is not None and not needed and webhook is not None:
            self.find("", f"type {channel} has no [webhook]", key="webhook", hint="leave it out")
        if not needed or webhook is None:
            return None
        self._check_word("webhook.request_type", webhook.request_type, REQUEST_TYPES)
        self._check_word("webhook.authorization", webhook.authorization, AUTHORIZATIONS, rule="T16")
        self._note_webhook(check_headers(webhook.headers))
        self._note_webhook(
            check_authorization(
                webhook.authorization,
                username=webhook.username,
                password_env=webhook.password_env,
                headers=webhook.headers,
            ),
        )
        if webhook.url is None:
            if "webhook.url" not in self._misfits:
                self.find("T14", "field `webhook.url` is missing", key="webhook")
            return None
        if not families:
            return None
        url, diagnostics = parse(webhook.url, EscapeContext.URL, families=families, locale=file.default_locale)
        self._note_all(diagnostics, "webhook.url")
        self._note_webhook(check_url(url, allow_http=self._rules.allow_http))
        return url

    def _note_webhook(self, diagnostics: Iterable[Diagnostic]) -> None:
        for diagnostic in diagnostics:
            key = diagnostic.location.field
            if key not in self._misfits:
                self.find(diagnostic.code, diagnostic.message, key=key, hint=diagnostic.hint)

    def _check_notification(self, file: _File, channel: Channel | None) -> None:
        """What only the `Message` of an e-mail or SMS shows: its category, and the files that come with it."""
        spec = None if channel is None else CHANNELS[channel]
        if file.category is not None and spec is not None and not spec.has_notification:
            self.find("", f"type {channel} has no category", key="category", hint="leave it out")
        elif file.category is not None and not CATEGORY_ID.fullmatch(file.category):
            hint = "as in NTC-3300-0041"
            self.find("", f"category {_cut(file.category)!r} is not a category's id", key="category", hint=hint)
        if file.attachment and spec is not None and not spec.has_attachments:
            self.find("", f"type {channel} has no attachments", key="attachment", hint="leave them out")
        if len(file.attachment) > ATTACHMENTS_LIMIT:
            what = f"{len(file.attachment)} attachments; a template has at most {ATTACHMENTS_LIMIT}"
            self.find("", what, key="attachment")
        for index, one in enumerate(file.attachment):
            key, place = f"attachment.{index}", f"attachment[{index + 1}]"
            if any(f"{format_error}.".startswith(f"{key}.") for format_error in self._misfits):
                continue
            if not _ATTACHMENT.fullmatch(one.id):
                hint = "as in ATT-1150-0093-2201"
                self.find("", f"`{place}.id` {_cut(one.id)!r} is not an attachment's id", key=f"{key}.id", hint=hint)
            if not 0 <= one.file_size <= _LONG:
                self.find("", f"`{place}.file_size` is not a number of bytes", key=f"{key}.file_size")
            for name in ("name", "content_type", "file_name", "href"):
                text = getattr(one, name)
                if not text.strip() or holds_control(text) or len(text) > TEXT_LIMIT_CHARACTERS:
                    what = f"`{place}.{name}` must be one line of 1 to {TEXT_LIMIT_CHARACTERS} characters"
                    self.find("", what, key=f"{key}.{name}")
                if token := first_placeholder(text):
                    hint = "attachments are the same for all messages"
                    self.find("", f"`{place}.{name}` holds {_shown_token(token)}", key=f"{key}.{name}", hint=hint)

    def _check_length(self, fixed: str, key: str, channel: Channel) -> None:
        limit = CHANNELS[channel].text_limit
        if limit is None:
            return
        if len(fixed) > limit.limit_characters:
            what = f"the fixed text alone has {len(fixed)} characters; an {channel} takes {limit.limit_characters}"
            self.find("T10", what, key=key)
        elif len(fixed) > limit.advised_characters:
            what = f"the fixed text alone has {len(fixed)} characters: more than one {channel} of "
            self.find("T10", f"{what}{limit.advised_characters}", key=key, warning=True)
        if found := _EMOJI.search(fixed):
            what = f"{found.group()!r} may be refused by an {channel} gateway"
            self.find("T10", what, key=key, token=found.group(), warning=True)

    def _note_all(self, diagnostics: Iterable[Diagnostic], key: str) -> None:
        """Note what is wrong with the text at `key`: so much of it as people read, with how often it is there."""
        # Errors first: what is left out must not hide one.
        counts = Counter(diagnostics)
        noted = sorted(counts, key=lambda diagnostic: diagnostic.is_warning)
        if rest := noted[MAX_DIAGNOSTICS_PER_TEXT:]:
            what = f"{len(rest)} more like the first {MAX_DIAGNOSTICS_PER_TEXT} of this text"
            self.find(rest[0].code, what, key=key, warning=rest[0].is_warning)
        for diagnostic in noted[:MAX_DIAGNOSTICS_PER_TEXT]:
            excerpt, what = diagnostic.location.excerpt, diagnostic.message
            if excerpt and excerpt not in what:
                what = f"{_shown_token(excerpt)}: {what}"
            if excerpt and counts[diagnostic] > 1:  # the line is that of the first
                what += f" ({counts[diagnostic]} times)"
            self.find(
                diagnostic.code, what, key=key, token=excerpt, hint=diagnostic.hint, warning=diagnostic.is_warning
            )

    def _content(self, file: _File) -> str:
        """The file as canonical JSON with its bodies, wherever they stand; samples are no part of it."""
        whole = file.model_dump(exclude={"sample", "condition"})
        for prefix, dumped in (("", whole), *((f"locale.{tag}.", one) for tag, one in whole["locale"].items())):
            dumped["body"] = self._bodies[prefix]
            del dumped["body_file"]
        whole["condition"] = [one.canonical() for one in file.condition]
        return json.dumps(whole, ensure_ascii=False, sort_keys=True, separators=(",", ":"))

    # ----------------------------------------------------------------------------------------------------- samples

    def run_samples(self, schemas: Schemas, time_zone: tzinfo) -> Iterator[SampleRun]:
        """Render each sample of a template that is whole, and note what it does not give (T19)."""
        if self._file is None or self.template is None:
            return
        if not self._file.sample and self._file.trigger != MANUAL:
            hint = "a [[sample]] shows what the template makes of an event, and fails when that changes"
            self.find("T19", "no sample", hint=hint, warning=True)
        names = set()
        for index, sample in enumerate(self._file.sample):
            key = f"sample.{index}"
            before = self._error_count()
            if sample.name in names:
                self.find("T19", f"sample {sample.name!r} is there twice", key=f"{key}.name")
            names.add(sample.name)
            event = self._sample_event(sample, key, schemas)
            if event is not None:
                self._compare(sample, key, event, self.template, time_zone)
            passed = self._error_count() == before
            yield SampleRun(self.template.id, sample.name, passed, event, subscribed=sample.subscribed)

    def _error_count(self) -> int:
        return sum(diagnostic.is_error for diagnostic in self.diagnostics)

    def _sample_event(self, sample: _Sample, key: str, schemas: Schemas) -> Event | None:
        raw = self._beside(sample.event, f"{key}.event")
        if raw is None or self.template is None:
            return None
        for unknown in unknown_fields_of_json(raw, schemas):
            what = f"{sample.event} has an unknown field {unknown.path}"
            if all(diagnostic.message != what for diagnostic in self.diagnostics):  # samples may share an event
                self.find("T19", what, key=f"{key}.event", hint=did_you_mean(unknown.nearest), warning=True)
        event = event_of_json(raw, schemas)
        if isinstance(event, Fault):
            what = f"sample {sample.name!r}: {sample.event} is no event: {event.reason}: {event.detail}"
            self.find("T19", what, key=f"{key}.event")
            return None
        if event.name not in self.template.events:
            what = f"sample {sample.name!r}: {sample.event} is a {event.name}, which this template is not for"
            self.find("T19", what, key=f"{key}.event")
            return None
        return event

    def _compare(self, sample: _Sample, key: str, event: Event, template: Template, time_zone: tzinfo) -> None:
        expected = sample.expected
        fields = expected.model_dump(exclude_none=True)
        shows_none = not fields and not sample.subscribed
        if not fields and sample.subscribed:
            self.find("T19", f"sample {sample.name!r} expects nothing", key=key, hint="expected.body = …")
        if expected.state is not None and expected.state not in (State.QUEUED, State.FAILED, State.SENT):
            hint = "a message is born QUEUED, FAILED or SENT"
            self.find("T19", f"unknown state {_cut(expected.state)!r}", key=f"{key}.expected.state", hint=hint)
        made = draft(
            # A sample shows what an inactive template would do.
            replace(template, active=True),
            event,
            time_zone=time_zone,
            stream=event_type(event.tenant, event.name),
            limit_characters=BODY_LIMIT_BYTES,
            sms_region=self._rules.sms_region,
            reference=subscriptions_alone(sample.subscribed),
        )
        if isinstance(made, SkippedTemplate | FailedTemplate):
            unsubscribed = made.reason is DecisionReason.NOT_SUBSCRIBED
            if not (shows_none and unsubscribed):
                what = f"sample {sample.name!r} makes no message: {made.reason}: {made.detail}"
                hint = "leave `expected` out where no message is right" if unsubscribed else ""
                self.find("T19", what, key=f"{key}.event", hint=hint)
            return
        if shows_none:
            what = f"sample {sample.name!r} makes a message, though its holder is not subscribed"
            hint = "an event without a holder asks no subscription"
            self.find("T19", what, key=f"{key}.subscribed", hint=hint)
        got = _shown_parts(made)
        for name, text in fields.items():
            if got[name] != text:
                why = made.why_failed if name in ("state", "destination") else ""
                what = f"sample {sample.name!r}: {name} is not as expected\n{_difference(text, got[name])}{why}"
                self.find("T19", what, key=f"{key}.expected.{name}")


def _attachment(one: _Attachment) -> Attachment:
    return Attachment(
        id=one.id,
        name=one.name,
        contentType=one.content_type,
        fileSize=one.file_size,
        fileName=one.file_name,
        href=one.href,
    )


def _shown_parts(made: Draft) -> dict[str, str | None]:
    return {
        "subject": made.rendered.subject,
        "body": made.rendered.body,
        "destination": made.destination,
        "state": made.state.value,
    }


def _check_unique(readings: Iterable[_Reading]) -> None:
    """T01 and T02 between files: names (compared without case), ids and keys."""
    seen: dict[tuple[str, str], str] = {}
    for one in readings:
        for rule, field, value, compared in one.names():
            first = seen.setdefault((field, compared), one.path.name)
            if first != one.path.name:
                one.find(rule, f"{field} {_cut(value)!r} is also that of {first}", key=field)


def _family(event: EventName) -> str:
    """MANUAL is no event of the domain, and so in none of its families."""
    return MANUAL if event == MANUAL else EVENTS[event].family


def _nobody_with_language(file: _File, families: Mapping[str, EventName]) -> str:
    """Why no reader of the template's text has a language, in words; empty when one may have."""
    if file.recipient == RecipientKind.CREDIT_OFFICER:
        return "a user of the bank has no language"
    held = [family for family in families if family == MANUAL or FAMILIES[family].holder.fields]
    return "" if held or not families else "its events are no client's and no group's"


def _targets_of(event: EventName) -> tuple[Target, ...]:
    """T05: the event's own target, who can be its holder, and SAVINGS for what deposit accounts have as well."""
    if event == MANUAL:
        return _HELD_IN_ORDER
    row = EVENTS[event]
    targets = [row.target, *(Target(field.upper()) for field in FAMILIES[row.family].holder.fields)]
    if event.startswith(("FEE", "PENALTY")) or event == "INTEREST_RATE_CHANGED":
        targets += [Target.SAVINGS]
    return tuple(dict.fromkeys(targets))


# -------------------------------------------------------------------------------------------------------- text, lines

_TYPE_WORDS: Final[Mapping[str, str]] = {  # pydantic's kind of fault -> what an author reads
    "string_type": "must be text in quotes",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
}


@dataclass(frozen=True, slots=True)
class _Float:
    """A TOML number with a point, as it is written: a binary float would change it."""

    text: str


def _operand_text(value: Any) -> str | None:
    """An operand of a condition as text, whichever of TOML's types it has; None for one that cannot be compared."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return _whole_text(value)
        case _Float(text):
            return text.replace("_", "")
        case date():  # and a date with its time
            return value.isoformat()
        case _:
            return None


def _whole_text(value: int) -> str:
    """A whole number as text, cut; Python refuses to write one of thousands of digits."""
    return _cut(str(value)) if value.bit_length() <= 1000 else f"of {value.bit_length()} bits"


def _word(text: str | None, words: Iterable[Any]) -> Any:
    return next((word for word in words if word == text), None)


def _take_out(raw: dict[str, Any], place: tuple[int | str, ...]) -> None:
    """Take what does not fit out of a file's fields, so that the rest does: a field, or the sample that holds it."""
    if place[0] == "webhook" and len(place) > 1 and "webhook" in raw:
        within = raw["webhook"]
        for step in place[1:-1]:
            within = within[step]
        within.pop(place[-1], None)
    elif place[0] == "locale" and len(place) > 2 and "locale" in raw:
        raw["locale"][place[1]].pop(place[2], None)
    elif place[0] == "condition" and len(place) > 1 and "condition" in raw:
        # Replaced, not removed, and its other fields left: later findings count on the places, and check the rest.
        if len(place) > 2:
            raw["condition"][place[1]].pop(place[2], None)
        else:
            raw["condition"][place[1]] = {}
    elif place[0] == "attachment" and len(place) > 1 and "attachment" in raw:
        raw["attachment"][place[1]] = dict.fromkeys(_Attachment.model_fields, "") | {"file_size": 0}
    elif place[0] == "sample" and len(place) > 1 and isinstance(place[1], int):
        # Replaced, not removed: later findings count on the places of the others.
        raw["sample"][place[1]] = {"name": "", "event": "", "expected": {}}
    else:
        raw.pop(str(place[0]), None)


def _shown(place: tuple[int | str, ...]) -> str:
    """A field's place as an author writes it: `sample[2].event`, counted from 1."""
    text = ""
    for step in place:
        text += f"[{step + 1}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".")


def _fields_at(place: tuple[int | str, ...]) -> tuple[str, ...]:
    match place:
        case ():
            return (*_File.model_fields, *_NOT_YET)
        case ("sample", _):
            return tuple(_Sample.model_fields)
        case ("condition", _):
            return tuple(_Condition.model_fields)
        case ("attachment", _):
            return tuple(_Attachment.model_fields)
        case ("webhook",):
            return tuple(_Webhook.model_fields)
        case ("sample", _, "expected"):
            return tuple(_Expected.model_fields)
        case _:
            return tuple(_Locale.model_fields)


_ARRAYS: Final = ("attachment", "condition", "sample")
_FILES_LOOKED_AT: Final = 10_000


def _instead(place: tuple[int | str, ...]) -> str:
    """What to write in place of an unknown field."""
    name, known = str(place[-1]), _fields_at(place[:-1])
    if len(place) > 1 and name in _File.model_fields:  # TOML takes whatever follows a [table] for a part of it
        expected = f"expected.{name}, or " if place[0] == "sample" and name in _Expected.model_fields else ""
        return f"{expected}fields of the template stand above the first [table]"
    if near := closest_match(name, known, cutoff=0.61):  # size is file_size, title is not state
        return did_you_mean(near)
    return "`processor templates --schema` names all fields" if len(place) == 1 else f"one of: {', '.join(known)}"


def _nearest(name: str, known: Iterable[str]) -> str:
    """A hint with the nearest of `known`, in whatever case the name is; empty when nothing is near."""
    known = list(known)
    return did_you_mean(closest_match(name, known) or closest_match(name.upper(), known))


def _cut(text: str) -> str:
    return truncate(text, _VALUE_LIMIT_CHARACTERS)


def _shown_token(token: str) -> str:
    """A piece of a text in one line, cut."""
    return _cut(token.replace("\n", "<U+000A>"))


def _difference(expected: str, got: str | None) -> str:
    """The two texts from a little before where they part, one below the other."""
    if got is None:
        return f"    expected {_cut(expected)!r}\n    got      nothing"
    at = next((i for i, (a, b) in enumerate(zip(expected, got, strict=False)) if a != b), min(len(expected), len(got)))
    start = max(at - 20, 0)
    lead = "…" if start else ""
    return f"    expected {lead}{_cut(expected[start:])!r}\n    got      {lead}{_cut(got[start:])!r}"


_KEY_CHARACTERS: Final = 1000  # how far into a line a key or header is looked for
_HEADER: Final = re.compile(r"\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(#.*)?$")
_PART: Final = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_ASSIGNMENT: Final = re.compile(rf"\s*({_PART}(?:\s*\.\s*{_PART})*)\s*=(.*)$")


def _line_numbers(source: str) -> dict[str, int]:
    """Where each key and table stands: `body`, `locale.pt.subject`, `sample.0.expected.body` -> line, from 1.

    tomllib gives no positions. This reads what templates are made of (tables, dotted keys, strings over several lines);
    a key it does not see has no line.
    """
    lines: dict[str, int] = {}
    arrays: dict[str, int] = {}
    table, closing = "", ""
    for number, line in enumerate(source.split("\n"), start=1):
        if closing:
            closing = "" if closing in line else closing
            continue
        if match := _HEADER.match(line[:_KEY_CHARACTERS]):
            table = ".".join(_key_parts(match[2]))
            if match[1] == "[[":
                lines.setdefault(table, number)
                arrays[table] = arrays.get(table, -1) + 1
                table = f"{table}.{arrays[table]}"
            lines.setdefault(table, number)
            table += "."
        elif match := _ASSIGNMENT.match(line[:_KEY_CHARACTERS]):
            lines.setdefault(table + ".".join(_key_parts(match[1])), number)
            value = line[match.start(2) :]
            opened = re.match(r"""\s*("{3}|'{3})""", value)
            if opened and opened[1] not in value[opened.end() :]:
                closing = opened[1]
    return lines


_TOML_ESCAPE: Final = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|([\"\\]))")


def _unescaped(match: re.Match[str]) -> str:
    """A character that TOML has escaped; a line break stays so, as the lines are counted."""
    code = int(match[1] or match[2] or f"{ord(match[3]):x}", 16)
    return match.group() if code == 0x0A or code > sys.maxunicode else chr(code)


def _key_parts(key: str) -> list[str]:
    return [part.strip("\"'") for part in re.findall(_PART, key)]
