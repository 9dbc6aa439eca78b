"""Which templates each template set had for an event, as `communications.template-sets` keeps them."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from processor.domain.record import EventName, TemplateId
from processor.wire.template_sets import StoredTemplate, stored_templates

log = structlog.get_logger()


class SetHistory:
    """The template sets that were used, by set version."""

    def __init__(self, sets: Mapping[str, Iterable[StoredTemplate]]) -> None:
        self._by_event: dict[str, dict[EventName, frozenset[TemplateId]]] = {}
        self._of_any_event: dict[str, frozenset[TemplateId]] = {}
        shared: dict[frozenset[TemplateId], frozenset[TemplateId]] = {}  # equal ones once: most sets are alike
        for set_version, templates in sets.items():
            by_event: dict[EventName, set[TemplateId]] = {}
            of_any = set[TemplateId]()
            for template in templates:
                events = _events_of(template)
                if events is None:
                    of_any.add(template.id)
                for event in events or ():
                    by_event.setdefault(event, set()).add(template.id)
            ids_of = {event: frozenset(ids) for event, ids in by_event.items()}
            self._by_event[set_version] = {event: shared.setdefault(ids, ids) for event, ids in ids_of.items()}
            self._of_any_event[set_version] = frozenset(of_any)

    def __contains__(self, set_version: str) -> bool:
        return set_version in self._by_event

    def templates(self, set_version: str, event: EventName) -> frozenset[TemplateId]:
        """The templates that the set had for `event`, inactive ones too. KeyError for a set that is not kept.

        A template whose content was too large to be kept counts for every event, so that none is mapped twice.
        """
        return self._by_event[set_version].get(event, frozenset()) | self._of_any_event[set_version]


def set_history(records: Iterable[tuple[bytes, bytes | None]]) -> SetHistory:
    """The sets of the records of `communications.template-sets`, key and value, in their order.

    A later record of a key wins, one without a value takes its part away. A set counts only when all of its parts are
    there. A record that is none of a template set is ignored with a warning, as `run` does, since the topic keeps it
    for ever: a set of which it may have been a part is not kept. Texts are forgotten record by record: there is one
    for each change of a template.
    """
    parts: dict[bytes, _Part] = {}
    seen: dict[StoredTemplate, StoredTemplate] = {}
    invalid: list[bytes] = []
    for key, value in records:
        parts.pop(key, None)
        try:
            if value:
                parts[key] = _part(value, seen)
        except (ValueError, RecursionError):
            invalid.append(key)
    if invalid:
        log.warning(
            "invalid template sets ignored", records=len(invalid), first_key=invalid[0].decode(errors="replace")
        )
    sets: dict[str, list[StoredTemplate]] = {}
    part_counts: dict[str, int] = {}
    for part in parts.values():
        sets.setdefault(part.set_version, []).extend(part.templates)
        part_counts[part.set_version] = part_counts.get(part.set_version, part.count) - 1
    return SetHistory({version: templates for version, templates in sets.items() if part_counts[version] == 0})


@dataclass(frozen=True, slots=True)
class _Part:
    """What is kept of a record: its set, of how many parts that is, and its templates with nothing but their events."""

    set_version: str
    count: int
    templates: tuple[StoredTemplate, ...]


def _part(value: bytes, seen: dict[StoredTemplate, StoredTemplate]) -> _Part:
    """`seen` has the templates of other records: most sets share most of theirs. ValueError for what is no part."""
    match json.loads(value):
        case {"setVersion": str() as set_version, "parts": int() as count}:
            templates = map(_without_texts, stored_templates(value))
            return _Part(set_version, count, tuple(seen.setdefault(template, template) for template in templates))
        case _:
            raise ValueError("no set version, or no number of parts")


def _without_texts(template: StoredTemplate) -> StoredTemplate:
    events = _events_of(template)
    return template if events is None else StoredTemplate(template.id, 0, json.dumps({"event": events}))


def _events_of(template: StoredTemplate) -> tuple[EventName, ...] | None:
    """The events that a template names; None when its content was not kept."""
    if template.content is None:
        return None
    content: Any = json.loads(template.content)
    match content:
        case {"event": str() as event}:
            return (EventName(event),)
        case {"event": list() as events}:
            return tuple(EventName(str(event)) for event in events)
        case _:
            raise ValueError(f"template {template.id} names no event")
