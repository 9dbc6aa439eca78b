"""The configurations that records are mapped with: output formats, limits, tables, settings; each record has one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from processor.domain.channel import Channel
from processor.domain.event import SourceEvent
from processor.domain.notification import StatusSet, status_map
from processor.domain.reasons import TemplateReason
from processor.domain.record import RecordPosition, SchemaGuid, SchemaId, TemplateId
from processor.domain.reference import Table
from processor.domain.template import Template, TemplateSet, template_set
from processor.errors import DeferredSchemaError, UnavailableError
from processor.mapping.context import DraftRules, MappingContext, Suspended
from processor.mapping.event_plans import EventPlans
from processor.mapping.options import KeyCheck, MissingRow, WrittenDecisions
from processor.mapping.reference import Reference
from processor.native import NATIVE
from processor.registry.schema_files import load_schemas
from processor.templates.load import read_templates, require_usable
from processor.wire.encode import OutputEncoder
from processor.wire.reader_schemas import Schemas
from processor.wire.schema import RefusedSchemaError, SchemaOf, WriterSchema
from processor.wire.wire_format import WireFormat
from tests.fuzz.corpus import DEFERRED_ID, REFUSED_ID, UNAVAILABLE_ID, Corpus, make_corpus
from tests.fuzz.templates import CATEGORY
from tests.support.builders import TENANT, make_output_topics

_LETTERS_BYTES: Final = 1_048_588 + 65_536 - 1_024  # as `topics --create` makes it for an events topic of the default

_KIRITIMATI: Final = ZoneInfo("Pacific/Kiritimati")  # 14 hours ahead of UTC
_PAGO_PAGO: Final = ZoneInfo("Pacific/Pago_Pago")  # 11 behind it

OUTPUT_FORMATS: Final = tuple(WireFormat)
_NATIVE_PARTS: Final = (None,) if NATIVE is None else (None, NATIVE)

_RULES: Final = {field.name for field in fields(DraftRules)}


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a record is mapped with: the same in each output format."""

    name: str
    contexts: Mapping[WireFormat, MappingContext]
    template_groups: frozenset[tuple[TemplateId, ...]]  #: The templates of each event, by id.
    suspended: Suspended = frozenset()
    repeats_events: bool = False  #: Half of all events lie in their partition before.
    _planned: dict[WireFormat, tuple[MappingContext, ...]] = field(default_factory=dict)

    def planned(self, output_format: WireFormat) -> tuple[MappingContext, ...]:
        """The same with plans, for each executor that is there. They are kept."""
        if output_format not in self._planned:
            context = self.contexts[output_format]
            self._planned[output_format] = tuple(
                replace(context, plans=EventPlans(native=part)) for part in _NATIVE_PARTS
            )
        return self._planned[output_format]

    def forget_plans(self) -> None:
        """They take a gigabyte when all configurations have theirs; an installation has those of one."""
        self._planned.clear()

    def duplicate_of(self, source: SourceEvent) -> RecordPosition | None:
        """Where the same event lies before."""
        repeated = self.repeats_events and source.event.id[0] in "01234567"
        return source.record.position._replace(offset=0) if repeated else None


@dataclass(frozen=True, slots=True)
class Environment:
    """What records are made of and mapped with."""

    corpus: Corpus
    configurations: tuple[Configuration, ...]
    templates: Mapping[TemplateId, Template]
    schema_of: SchemaOf


def make_environment(templates_dir: Path, *, seed: int) -> Environment:
    """Read the templates, all of which must be valid (UsageError), and make the corpus of `seed`."""
    schemas = load_schemas()
    corpus = make_corpus(schemas, seed=seed)
    templates = require_usable(read_templates(templates_dir, tenant=TENANT, schemas=schemas))
    return Environment(
        corpus,
        configurations(schemas, templates),
        {template.id: template for template in templates.templates},
        schemas_of(corpus),
    )


def schemas_of(corpus: Corpus) -> SchemaOf:
    """The writers' schemas of a corpus, those of today, and what a registry does beside."""

    def schema_of(schema_key: SchemaId | SchemaGuid) -> WriterSchema:
        if schema_key == UNAVAILABLE_ID:
            raise UnavailableError("the registry does not respond")
        if schema_key == DEFERRED_ID:
            raise DeferredSchemaError("the registry refuses id 3")
        if schema_key == REFUSED_ID:
            raise RefusedSchemaError(schema_key, "refused for 600 s")
        return corpus.by_id[schema_key] if schema_key in corpus.by_id else corpus.schemas.local_schema(schema_key)

    return schema_of


def configurations(schemas: Schemas, templates: TemplateSet) -> tuple[Configuration, ...]:
    """All configurations for a template set; the first one is the ordinary."""

    def configuration(
        name: str, *, suspended: Suspended = frozenset(), repeats_events: bool = False, **changes: Any
    ) -> Configuration:
        rules = {name: changes.pop(name) for name in _RULES & changes.keys()}
        by_format = {
            output_format: MappingContext(
                **{
                    "tenant": TENANT,
                    "schemas": schemas,
                    "templates": templates,
                    "output_topics": make_output_topics(dead_letters=_LETTERS_BYTES),
                    "encode": OutputEncoder(schemas, output_format=output_format, stream_format=output_format),
                    "draft_rules": DraftRules(**rules),
                    **changes,
                }
            )
            for output_format in OUTPUT_FORMATS
        }
        named = by_format[OUTPUT_FORMATS[0]].templates.by_event.values()
        together = frozenset(tuple(template.id for template in each) for each in named)
        return Configuration(name, by_format, together, suspended, repeats_events)

    half = templates.templates[::2]
    small_topics = make_output_topics(limit=40_000, dead_letters=_LETTERS_BYTES, decisions=4_000)
    return (
        configuration("plain"),
        configuration("far east", time_zone=_KIRITIMATI, decisions=WrittenDecisions.UNEXPECTED, sms_region="PT"),
        configuration("far west", time_zone=_PAGO_PAGO, statuses=status_map(StatusSet.EXTENDED), sms_region="US"),
        configuration("small topics", output_topics=small_topics),
        configuration("tables", reference=Reference(rows=_table_row, category_by_family={"client": CATEGORY})),
        configuration(
            "tables are needed",
            reference=Reference(rows=_table_row, missing_row=MissingRow.FAIL),
            decisions=WrittenDecisions.OFF,
        ),
        configuration("bad tables", reference=Reference(rows=_bad_table_row)),
        configuration("no SMS, strict keys", disabled_channels=frozenset((Channel.SMS,)), key_check=KeyCheck.STRICT),
        configuration("repeated events", repeats_events=True),
        configuration("few templates", templates=template_set(templates.templates[::10])),
        configuration(
            "half is suspended", suspended=frozenset((template.id, TemplateReason.MISSING_VALUE) for template in half)
        ),
    )


def _table_row(table: Table, key: str) -> bytes | None:
    """Rows by their key's last digit: some are missing, some suppress messages."""
    digit = key[-1]
    match table:
        case Table.CONTACTS if digit in "0123456789ab":
            row: Any = {
                "id": "CTT-4410-0093-7715",
                "name": "\u202eInes\x00",
                "optOuts": [CATEGORY] if digit in "012" else [],
            }
            return json.dumps(
                row | ({"status": "Blocked", "blockedReason": "¤" * 3_000} if digit in "345" else {})
            ).encode()
        case Table.ACCOUNTS if digit in "01234567k":
            return json.dumps(
                {"id": "ACC-7031-2205", "name": "n" * 60_000, "disabledCategories": [CATEGORY] if digit == "1" else []}
            ).encode()
        case Table.CATEGORIES:
            return json.dumps({"id": key, "name": "\U0001f469" * 200, "optOutAllowed": True}).encode()
        case Table.SUBSCRIPTIONS if digit in "0123456":
            return json.dumps({"subscribed": digit in "012345"}).encode()
        case _:
            return None


_BAD_ROWS: Final = (
    *(
        b"7",
        b'{"id": "CTT-4410-0093-7715", "name": "x", "status": "Asleep"}',
        b'{"id": "x", "name": "x"}',
        b'{"at": 1}',
    ),
    *(b'{"id": "CTT-4410-0093-7715", "name": "x", "user": 7}', b'{"subscribed": true, "at": "now"}'),
    b'{"id": "CTT-4410-0093-7715", "name": "x", "user": {"id": "USR-5520-1187", "name": "y"}}',
    *(b'{"id": "CTT-4410-0093-7715", "name": "x", "optOuts": "all"}', b'{"id": "NTC-0000-0000"}'),
    *(b"", b"[", b"{}", b'{"id": 7}', b"\xff", b'{"subscribed": "yes"}', b"x" * 70_000, b"[" * 500),
)


def _bad_table_row(table: Table, key: str) -> bytes | None:
    index = int.from_bytes(key[-2:].encode(), "big") % 31
    return _BAD_ROWS[index] if index < len(_BAD_ROWS) else _table_row(table, key)
