"""A template set as it is kept on `communications.template-sets`: what texts were, after they were edited. Pure."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from processor.domain.output_topics import OutputTopic
from processor.domain.placeholders import VALUE_MASK
from processor.domain.record import OutRecord, TemplateId
from processor.domain.template import Template, TemplateSet
from processor.wire.json_codec import JSON_HEADERS

_OVERHEAD_BYTES: Final = 512  # key, header, and what is around the templates of a part


def template_set_records(templates: TemplateSet, topic: OutputTopic) -> tuple[OutRecord, ...]:
    """The set's records, JSON, in partition 0: one with the digest as its key or, where that is too much for the topic,
    parts of whole templates with keys `digest/2`, `digest/3`, ….

    Value: `setVersion`, `part` (from 1), `parts`, `templates` [{`id`, `version`, `templateKey`, `content`}]; `content`
    is the file as canonical JSON without samples and without the values of a webhook's headers, null for one that alone
    is larger than the topic takes.
    """
    parts = list(_parts(templates, topic.limit_bytes - _OVERHEAD_BYTES))
    return tuple(
        OutRecord(
            topic.name,
            0,
            (templates.digest if number == 1 else f"{templates.digest}/{number}").encode(),
            _json({"setVersion": templates.digest, "part": number, "parts": len(parts), "templates": part}),
            JSON_HEADERS,
        )
        for number, part in enumerate(parts, start=1)
    )


@dataclass(frozen=True, slots=True)
class StoredTemplate:
    """One template of a record. `content` is None for one that alone is larger than the topic takes."""

    id: TemplateId
    version: int
    content: str | None


def stored_templates(value: bytes) -> tuple[StoredTemplate, ...]:
    """The templates of one of the records above, also of one that another version of this program wrote. ValueError for
    any other value."""
    try:
        record = json.loads(value)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    match record:
        case {"templates": list() as templates}:
            return tuple(map(_stored_template, templates))
        case _:
            raise ValueError("no list of templates")


def _stored_template(value: Any) -> StoredTemplate:
    match value:
        case {"id": str() as name, "version": int() as version, "content": str() | None as content}:
            return StoredTemplate(TemplateId(name), version, content)
        case _:
            raise ValueError("not a template")


def _parts(templates: TemplateSet, limit_bytes: int) -> Iterator[list[dict[str, Any]]]:
    part: list[dict[str, Any]] = []
    part_bytes = 0
    for template in templates.templates:
        entry = _entry(template, limit_bytes)
        entry_bytes = len(_json(entry)) + 1
        if part and part_bytes + entry_bytes > limit_bytes:
            yield part
            part, part_bytes = [], 0
        part.append(entry)
        part_bytes += entry_bytes
    yield part


def _entry(template: Template, limit_bytes: int) -> dict[str, Any]:
    entry = {
        "id": template.id,
        "version": template.version,
        "templateKey": template.key,
        "content": without_secrets(template.content),
    }
    return entry if len(_json(entry)) <= limit_bytes else entry | {"content": None}


def without_secrets(content: str) -> str:
    """A template's content as it is kept and shown: headers of a webhook may carry a token, so their values are `***`.

    The topic keeps its records for ever.
    """
    file = json.loads(content)
    headers = (file.get("webhook") or {}).get("headers") if isinstance(file, dict) else None
    if not headers:
        return content
    file["webhook"]["headers"] = dict.fromkeys(headers, VALUE_MASK)
    return json.dumps(file, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
