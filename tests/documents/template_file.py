"""docs/reference/template-file.md."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from processor.templates.file_model import json_schema
from tests.documents.markdown import page, table

_SECTIONS: Final = {  # table of the file -> the definition of its fields
    "[[condition]]": "ConditionSection",
    "[locale.TAG]": "LocaleSection",
    "[webhook]": "WebhookSection",
    "[[attachment]]": "AttachmentSection",
    "[[sample]]": "SampleSection",
    "sample.expected": "ExpectedSection",
}
_MANY_WORDS: Final = 20


def template_file_page() -> str:
    """Each field of a template file, from the JSON Schema that editors get."""
    schema = json_schema()
    left_out = set(schema["$defs"]) ^ set(_SECTIONS.values())
    assert not left_out, f"no section of the page is for {left_out}"
    blocks = [block for name, key in _SECTIONS.items() for block in _section(f"`{name}`", schema["$defs"][key])]
    return page(
        "The fields of a template file",
        "`processor templates --schema` prints the same as JSON Schema, by which editors complete and check a file. "
        "What has to fit together is in the [template rules](template-rules.md); how to write templates is in "
        "[the guide](../guides/templates.md).",
        *_section("Top level", schema),
        *blocks,
    )


def _section(title: str, section: Mapping[str, Any]) -> Iterator[str]:
    required = section.get("required", ())
    yield f"## {title}"
    yield table(
        ("Field", "Type", "Default", "Meaning"),
        (
            (f"`{name}`", _type(field), _default(field, is_required=name in required), field["description"])
            for name, field in section["properties"].items()
        ),
    )


def _type(field: Mapping[str, Any]) -> str:
    """In words of TOML."""
    if "enum" in field:
        words = field["enum"]
        return "an event's name" if len(words) > _MANY_WORDS else ", ".join(f"`{word}`" for word in words)
    if "anyOf" in field:
        return " or ".join(_type(choice) for choice in field["anyOf"] if choice.get("type") != "null")
    if "$ref" in field:
        return "table"
    match field.get("type"):
        case "array":
            items = field["items"]
            return "tables" if "$ref" in items else f"list of {'events' if 'enum' in items else 'values'}"
        case "object":
            return "table"
        case "integer":
            return "whole number"
        case "boolean":
            return "true or false"
        case "string":
            return "text"
        case _:
            return "text, number, day, or true or false"


def _default(field: Mapping[str, Any], *, is_required: bool) -> str:
    if is_required:
        return "required"
    default = field.get("default")
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default}`" if default not in (None, "", [], {}) and not isinstance(default, dict) else "–"
