"""Which templates each template set had for an event, as `communications.template-sets` keeps them. Pure."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from processor.domain.record import EventName, TemplateId
from processor.wire.template_sets import StoredTemplate, stored_templates


class SetHistory:
    """The template sets that were used, by set version."""

    def __init__(self, sets: Mapping[str, Iterable[StoredTemplate]]) -> None:
        self._by_event: dict[str, dict[EventName, set[TemplateId]]] = {}
        self._of_any_event: dict[str, set[TemplateId]] = {}
        for set_version, templates in sets.items():
            by_event = self._by_event.setdefault(set_version, {})
            of_any = self._of_any_event.setdefault(set_version, set())
            for template in templates:
                events = _events_of(template)
                if events is None:
                    of_any.add(template.id)
                for event in events or ():
                    by_event.setdefault(event, set()).add(template.id)

    def __contains__(self, set_version: str) -> bool:
        return set_version in self._by_event

    def templates(self, set_version: str, event: EventName) -> frozenset[TemplateId]:
        """The templates that the set had for `event`, inactive ones too. KeyError for a set that is not kept.

        A template whose content was too large to be kept counts for every event, so that none is mapped twice.
        """
        return frozenset(self._by_event[set_version].get(event, set()) | self._of_any_event[set_version])


def set_history(records: Iterable[tuple[bytes, bytes | None]]) -> SetHistory:
    """The sets of the records of `communications.template-sets`, key and value, in their order.

    A later record of a key wins, one without a value takes its part away. A set counts only when all of its parts are
    there. ValueError for a record that is none of a template set.
    """
    parts: dict[bytes, bytes] = {}
    for key, value in records:
        if value:
            parts[key] = value
        else:
            parts.pop(key, None)
    sets: dict[str, list[StoredTemplate]] = {}
    part_counts: dict[str, int] = {}
    for value in parts.values():
        set_version, count = _set_version_and_parts(value)
        sets.setdefault(set_version, []).extend(stored_templates(value))
        part_counts[set_version] = part_counts.get(set_version, count) - 1
    return SetHistory({version: templates for version, templates in sets.items() if part_counts[version] == 0})


def _set_version_and_parts(value: bytes) -> tuple[str, int]:
    match json.loads(value):
        case {"setVersion": str() as set_version, "parts": int() as parts}:
            return set_version, parts
        case _:
            raise ValueError("no set version, or no number of parts")


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
