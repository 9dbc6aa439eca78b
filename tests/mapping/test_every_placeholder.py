"""The shipped templates use all that the domain offers: each placeholder, each type in each content type.

What a text must be is written by hand in each template's samples, which are checked when the templates are read; this
is about what the samples show together. A placeholder counts where its value is there.
"""

import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import product

from processor.domain.catalogue import EVENTS
from processor.domain.channel import ContentType
from processor.domain.event import value_at
from processor.domain.placeholders import ENTITIES, PLACEHOLDERS, PlaceholderType
from processor.domain.template import CustomFieldPlaceholder, NamedPlaceholder, Segment, Text
from processor.domain.value_format import FormatFunction
from processor.mapping.checks import case_of
from processor.mapping.context import DraftRules
from processor.mapping.values import custom_value
from processor.templates.load import SHIPPED, LoadResult, read_templates, require_usable
from processor.templates.samples import SampleRun
from tests.support.builders import TENANT, schemas

UsedPlaceholder = tuple[
    str, ContentType, NamedPlaceholder | CustomFieldPlaceholder, object
]  #: family, content type of the body, placeholder, value


@cache
def loaded() -> LoadResult:
    """The shipped templates, all of whose samples gave what they expect."""
    found = read_templates(None, tenant=TENANT, schemas=schemas())
    require_usable(found)
    return found


def runs() -> tuple[SampleRun, ...]:
    """All samples of the shipped templates."""
    return loaded().samples


@cache
def used_placeholders(*, all_parts: bool = False) -> tuple[UsedPlaceholder, ...]:
    """The placeholders of the samples' bodies that have a value there; `whole`: of subjects and addresses too."""
    templates = {template.id: template for template in loaded().renderable}

    def of(run: SampleRun) -> Iterator[UsedPlaceholder]:
        template = templates[run.template]
        if run.event is None:
            return
        case = case_of(template, run.event, DraftRules())
        scope = case.scope
        text = template.text_for(None if case.recipient is None else case.recipient.language)
        for segment in _segments(text) if all_parts else text.body:
            match segment:
                case NamedPlaceholder():
                    value = value_at(segment.paths[scope.family].path, scope.fields)
                case CustomFieldPlaceholder():
                    value = custom_value(segment.field, scope.fields)
                case _:
                    continue
            if value not in (None, ()):
                yield scope.family, template.content_type, segment, value

    return tuple(used for run in runs() for used in of(run))


def _segments(text: Text) -> tuple[Segment, ...]:
    return (*(text.subject or ()), *text.body, *(text.url or ()))


def expected_bodies() -> Mapping[tuple[str, str], str | None]:
    """The body that each sample expects, by template and the sample's name, as the files say it."""
    files = [tomllib.loads(path.read_text(encoding="utf-8")) for path in SHIPPED.glob("*.toml")]
    return {
        (str(file["id"]), str(sample["name"])): sample["expected"].get("body")
        for file in files
        for sample in file["sample"]
    }


def test_each_sample_expects_a_body() -> None:
    """So that what is counted here is also compared: a name stands for one sample, and each one says its body."""
    expected = expected_bodies()

    assert {(run.template, run.name) for run in runs()} == expected.keys()
    assert len(runs()) == len(expected)
    assert all(expected.values())


def test_each_event_has_a_sample() -> None:
    """An event that no sample is of would be mapped by a text that was never looked at."""
    assert set(EVENTS) == {run.event.name for run in runs() if run.event is not None}


def test_each_placeholder_is_shown() -> None:
    """Each row of the table, also one of several with the same name, is in a text with its value."""
    found = {
        (placeholder.name, placeholder.paths[family].path)
        for family, _, placeholder, _ in used_placeholders(all_parts=True)
        if isinstance(placeholder, NamedPlaceholder)
    }

    missing = [f"{row.name} ({'.'.join(row.path)})" for row in PLACEHOLDERS if (row.name, row.path) not in found]

    assert not missing, f"{len(missing)} of {len(PLACEHOLDERS)} are not shown"


def test_each_type_is_shown_in_each_content_type() -> None:
    """As its own text, without FORMAT, for that is what its content type escapes."""
    found = {
        (placeholder.paths[family].type, content)
        for family, content, placeholder, _ in used_placeholders()
        if isinstance(placeholder, NamedPlaceholder) and placeholder.format is None
    }

    missing = [
        f"{kind} in {content}"
        for kind, content in product(PlaceholderType, ContentType)
        if (kind, content) not in found
    ]

    assert not missing, f"{len(missing)} of {len(PlaceholderType) * len(ContentType)} are not shown"


def test_booleans_are_shown_in_each_content_type() -> None:
    """Only custom fields have them, so the table of placeholders does not know the type."""
    found = {
        content
        for _, content, placeholder, value in used_placeholders()
        if isinstance(placeholder, CustomFieldPlaceholder) and isinstance(value, bool)
    }

    assert set(ContentType) == found


def test_each_form_of_a_custom_field_is_shown() -> None:
    """A field alone, one of an entity, and one entry of a grouped field."""

    def parse_format(name: str) -> str:
        entity, *rest = name.split(":")
        return ":".join(("ENTITY" if entity in ENTITIES else "FIELD", *("FIELD", "INDEX")[: len(rest)]))

    found = {
        parse_format(placeholder.field.name)
        for _, _, placeholder, _ in used_placeholders()
        if isinstance(placeholder, CustomFieldPlaceholder)
    }

    assert {"FIELD", "ENTITY:FIELD", "ENTITY:FIELD:INDEX"} == found


def test_each_entity_of_custom_fields_is_shown() -> None:
    """All nine entities have a field in some text."""
    found = {
        placeholder.field.name.split(":")[0]
        for _, _, placeholder, _ in used_placeholders()
        if isinstance(placeholder, CustomFieldPlaceholder)
    }

    assert not set(ENTITIES) - found


def test_formats_are_shown() -> None:
    """FORMAT writes a number, FORMAT_DATE a date."""
    found = {
        placeholder.format.function
        for _, _, placeholder, _ in used_placeholders()
        if isinstance(placeholder, NamedPlaceholder) and placeholder.format is not None
    }

    assert set(FormatFunction) == found
