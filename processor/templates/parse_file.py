"""A template file from disk: its fields, each of its type, and the line of each. All else is checked later.

A field that does not fit is left out and noted, so that the rest is checked in the same go.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from processor.domain.diagnostic import Diagnostic, Location
from processor.domain.text import closest_match, did_you_mean, truncate
from processor.files import UnfitError, file_bytes, file_text
from processor.templates.diagnostics import CONTROL, MESSAGE_LIMIT_CHARACTERS, Diagnostics, error, short
from processor.templates.disguises import escape_invisible
from processor.templates.file_model import (
    ARRAYS,
    NOT_YET,
    REQUIRED,
    AttachmentSection,
    ConditionSection,
    ExpectedSection,
    LocaleSection,
    SampleSection,
    Section,
    TemplateFile,
    TomlFloat,
    WebhookSection,
)
from processor.templates.rules import RuleCode
from processor.templates.toml_lines import TomlSource, toml_source

KeyPath = tuple[int | str, ...]  #: Where a value is in a file: keys, and places in arrays from 0.

_SIBLINGS_LIMIT: Final = 10_000  # files that are compared with a name that is not there


@dataclass(frozen=True, slots=True)
class Body:
    """The text of a body, None when it cannot be read, and the file that has it, empty for the template's own."""

    text: str | None
    file: str = ""
    diagnostics: Diagnostics = ()


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """A template file whose fields have their types. `invalid` has the keys of those that did not and were left out.

    `bodies` are by the prefix of their field: empty for the top level, as `locale.pt.` for a section.
    """

    path: Path
    directory: Path
    source: TomlSource
    file: TemplateFile
    invalid: frozenset[str] = frozenset()
    bodies: Mapping[str, Body] = field(default_factory=dict)

    def locate(self, diagnostic: Diagnostic) -> Diagnostic:
        """`diagnostic` of a field at its line, in words that can be shown.

        One in a body that is a file of its own names that file, with the line of its excerpt there.
        """
        key, excerpt, message = diagnostic.location.field, diagnostic.location.excerpt, diagnostic.message
        body = self.bodies.get(key.removesuffix("body")) if key.endswith("body") else None
        if body is not None and body.file and body.text is not None:
            before, found, _ = body.text.partition(excerpt) if excerpt else (body.text, "", "")
            number = before.count("\n") + 1
            place = f"{body.file}:{number}" if found else body.file
            message, key, excerpt = f"{place}: {message}", f"{key}_file", ""
        location = Location(file=self.path.name, line=self.source.line_of(key, excerpt))
        return replace(diagnostic, message=_printable(message), location=location)


def read_file(path: Path, directory: Path) -> tuple[ParsedFile | None, Diagnostics]:
    """The file and what is wrong with the types of its fields; None when it is no TOML. Blocks on the disk."""
    try:
        text = file_text(path).replace("\r\n", "\n")
        raw = tomllib.loads(text, parse_float=TomlFloat)
    except (UnfitError, OSError, ValueError, RecursionError) as failure:
        message, line = _why_not_toml(failure)
        return None, (Diagnostic(message=_printable(message), location=Location(file=path.name, line=line)),)
    file, invalid, errors = _parse_fields(raw)
    bodies = {prefix: _read_body(texts, prefix, directory) for prefix, texts in _texts(file).items()}
    parsed = ParsedFile(path, directory, toml_source(text), file, invalid, bodies)
    missing = [name for name in REQUIRED if getattr(file, name) is None and name not in invalid]
    errors += [error(f"field `{name}` is missing") for name in missing]
    return parsed, tuple(map(parsed.locate, errors))


def _printable(message: str) -> str:
    """What a file says may be long, and may hold what a terminal would obey or nobody would see."""
    return CONTROL.sub("\ufffd", truncate(escape_invisible(message), MESSAGE_LIMIT_CHARACTERS))


def _why_not_toml(failure: Exception) -> tuple[str, int | None]:
    """Why a file cannot be read, and the line."""
    match failure:
        case OSError():
            return f"cannot be read: {failure.strerror}", None
        case UnicodeDecodeError():
            return f"is not UTF-8, at byte {failure.start}", None
        case tomllib.TOMLDecodeError():
            text, _, place = str(failure).partition(" (at line ")
            return f"is not TOML: {text[:1].lower()}{text[1:]}", int(place.split(",")[0]) if place else None
        case RecursionError():
            return "is not TOML that can be read: nested too deeply", None
        case ValueError():  # of Python's own limit, when a number has thousands of digits
            return "is not TOML that can be read: a number has too many digits", None
        case _:
            return str(failure), None


# -------------------------------------------------------------------------------------------------------------- fields

S = TypeVar("S", bound=Section)


@dataclass(frozen=True, slots=True)
class _FieldError:
    """A value that does not fit, in pydantic's words: the kind of error, where it is, and the text."""

    kind: str
    path: KeyPath
    text: str


def _parse_fields(raw: dict[str, Any]) -> tuple[TemplateFile, frozenset[str], list[Diagnostic]]:
    """The fields that fit, the keys of those that do not, and what is wrong; each table is parsed by itself."""
    field_errors: list[_FieldError] = []
    fields = dict(raw)
    if isinstance(raw.get("webhook"), dict):
        fields["webhook"] = _parse_section(WebhookSection, raw["webhook"], ("webhook",), field_errors)
    if isinstance(raw.get("locale"), dict):
        sections = {
            tag: _parse_section(LocaleSection, section, ("locale", tag), field_errors)
            for tag, section in raw["locale"].items()
        }
        fields["locale"] = {tag: section for tag, section in sections.items() if section is not None}
    for name, placeholder in _PLACEHOLDERS.items():
        if isinstance(raw.get(name), list):
            # A section that does not fit has a placeholder: later diagnostics count on the places of the others.
            fields[name] = [
                _parse_section(ARRAYS[name], section, (name, index), field_errors) or placeholder
                for index, section in enumerate(raw[name])
            ]
    file = _parse_section(TemplateFile, fields, (), field_errors) or TemplateFile()
    invalid = {key for field_error in field_errors for key in (str(field_error.path[0]), _key(field_error.path))}
    diagnostics = dict.fromkeys(map(_diagnostic_of, field_errors))  # of the branches of `event` one
    return file, frozenset(invalid), list(diagnostics)


_PLACEHOLDERS: Final[Mapping[str, Section]] = {
    "attachment": AttachmentSection(id="", name="", content_type="", file_size=0, file_name=""),
    "condition": ConditionSection(),
    "sample": SampleSection(name="", event=""),
}


def _parse_section(model: type[S], raw: Any, path: KeyPath, field_errors: list[_FieldError]) -> S | None:
    """The section with the fields that fit; None when it is no table, or a field that it needs does not fit."""
    try:
        return model.model_validate(raw)
    except ValidationError as failure:
        places = [_without_branches(detail["loc"]) for detail in failure.errors()]
        field_errors += [
            _FieldError(detail["type"], (*path, *place), detail["msg"])
            for detail, place in zip(failure.errors(), places, strict=True)
        ]
        if not isinstance(raw, dict):
            return None
        for place in places:
            raw = _without(raw, place)
        try:
            return model.model_validate(raw)
        except ValidationError:
            return None


def _without_branches(place: KeyPath) -> KeyPath:
    """`place`; of `event: str | list[str]`, where each branch has an error, without the branch."""
    return ("event",) if place[:1] == ("event",) else place


def _without(raw: dict[str, Any], place: KeyPath) -> dict[str, Any]:
    """`raw` without the field at `place`, of tables within tables the innermost."""
    first, *rest = place
    inner = raw.get(str(first))
    if rest and isinstance(inner, dict):
        return {**raw, str(first): _without(inner, tuple(rest))}
    return {name: value for name, value in raw.items() if name != first}


_TYPE_WORDS: Final[Mapping[str, str]] = {  # pydantic's kind of error -> what an author reads
    "string_type": "must be text in quotes",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
}


def _diagnostic_of(field_error: _FieldError) -> Diagnostic:
    key, shown = _key(field_error.path), short(_shown_path(field_error.path))
    if field_error.kind == "missing":
        return error(f"field `{shown}` is missing", field=_key(field_error.path[:-1]))
    if field_error.kind == "extra_forbidden" and key in NOT_YET:
        return error(f"`{key}` is not supported yet", field=key, hint="leave it out")
    if field_error.kind == "extra_forbidden":
        return error(f"unknown field `{shown}`", field=key, hint=_suggest_field(field_error.path))
    if field_error.path[0] == "event":
        return error("`event` must be an event's name or a list of names", code=RuleCode.EVENT, field="event")
    message = _TYPE_WORDS.get(field_error.kind, field_error.text[:1].lower() + field_error.text[1:])
    hint = f"write [[{key}]], in two brackets" if key in ARRAYS else ""
    return error(f"`{shown}` {message}", field=key, hint=hint)


def _key(path: KeyPath) -> str:
    return ".".join(map(str, path))


def _shown_path(path: KeyPath) -> str:
    """A field's place as an author writes it: `sample[2].event`, counted from 1."""
    text = ""
    for step in path:
        text += f"[{step + 1}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".")


def _suggest_field(path: KeyPath) -> str:
    """What to write in place of an unknown field."""
    name, known = str(path[-1]), _fields_at(path[:-1])
    if len(path) > 1 and name in TemplateFile.model_fields:  # TOML takes whatever follows a [table] for a part of it
        expected = f"expected.{name}, or " if path[0] == "sample" and name in ExpectedSection.model_fields else ""
        return f"{expected}fields of the template stand above the first [table]"
    if near := closest_match(name, known, cutoff=0.61):  # size is file_size, title is not state
        return did_you_mean(near)
    return "`processor templates --schema` names all fields" if len(path) == 1 else f"one of: {', '.join(known)}"


def _fields_at(path: KeyPath) -> tuple[str, ...]:
    match path:
        case ():
            return (*TemplateFile.model_fields, *NOT_YET)
        case ("webhook",):
            return tuple(WebhookSection.model_fields)
        case ("sample", _, "expected"):
            return tuple(ExpectedSection.model_fields)
        case (str() as name, _) if name in ARRAYS:
            return tuple(ARRAYS[name].model_fields)
        case _:
            return tuple(LocaleSection.model_fields)


# --------------------------------------------------------------------------------------------- files beside a template


def _texts(file: TemplateFile) -> Mapping[str, TemplateFile | LocaleSection]:
    """What has a body, by the prefix of its fields."""
    return {"": file, **{f"locale.{tag}.": section for tag, section in file.locale.items()}}


def _read_body(texts: TemplateFile | LocaleSection, prefix: str, directory: Path) -> Body:
    """The body, from the field or the file it names."""
    body_key, file_key, code = f"{prefix}body", f"{prefix}body_file", RuleCode.BODY
    if texts.body is not None and texts.body_file is not None:
        message, hint = "`body` and `body_file` are both given", "keep one of them"
        return Body(None, diagnostics=(error(message, code=code, field=file_key, hint=hint),))
    if texts.body_file is None:
        body = Body(texts.body)
    else:
        raw = read_sibling(texts.body_file, directory, field=file_key)
        if isinstance(raw, Diagnostic):
            return Body(None, diagnostics=(raw,))
        try:
            body = Body(raw.decode(), texts.body_file)
        except UnicodeDecodeError as failure:
            message = f"{texts.body_file} is not UTF-8, at byte {failure.start}"
            return Body(None, diagnostics=(error(message, code=code, field=file_key),))
    if body.text is None:
        message, hint = f"`{body_key}` is missing", "or name a file by `body_file`"
        return Body(None, diagnostics=(error(message, code=code, field=prefix.rstrip("."), hint=hint),))
    if not body.text.strip():
        return replace(body, diagnostics=(error(f"`{body_key}` is blank", code=code, field=body_key),))
    return body


def read_sibling(name: str, directory: Path, *, field: str) -> bytes | Diagnostic:
    """The bytes of a file that `field` names, in the templates' directory or below it; or why there are none.

    Blocks on the disk.
    """
    try:
        path = (directory / name).resolve()
    except (OSError, RuntimeError, ValueError) as failure:  # a loop of links, a NUL
        return error(f"{name!r} is not a file's name: {failure}", field=field)
    if not path.is_relative_to(directory.resolve()):
        hint = "body and sample files are named relative to it"
        return error(f"{name} is outside of the templates' directory", field=field, hint=hint)
    try:
        return file_bytes(path)
    except UnfitError as unfit:
        return error(f"{name} {unfit}", field=field)
    except OSError as failure:
        hint = _suggest_sibling(name, path, directory)
        if not hint and field.endswith(".event"):
            hint = "a JSON event, in a file that is named relative to the templates' folder"
        return error(f"{name} cannot be read: {failure.strerror}", field=field, hint=hint)


def _suggest_sibling(name: str, path: Path, directory: Path) -> str:
    """A hint with the file that was probably meant: one of that name elsewhere, else one called alike."""
    files = [
        file.relative_to(directory).as_posix()
        for file in islice(directory.rglob("*"), _SIBLINGS_LIMIT)
        if file.suffix != ".toml" and file.is_file()
    ]
    near = [file for file in files if Path(file).name == path.name] or get_close_matches(name, files, 1)
    return did_you_mean(near[0] if near else "")
