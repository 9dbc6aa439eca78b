"""Which event ids are searched for at other offsets, and which cannot be: those of events that cannot be read now."""

import structlog

from processor.domain.event import SourceEvent
from processor.domain.outcome import Processed, Rejected
from processor.domain.record import SourceRecord
from processor.engine.startup_guard import MAX_SAMPLE, Cause, causes_of
from processor.mapping.context import MappingContext
from processor.mapping.rejections import error_place
from processor.replay.event_offsets import EventOffsets
from processor.replay.past_mapper import NothingToPublish, decode_now, is_of_a_dependency
from processor.wire.schema import SchemaOf

log = structlog.get_logger()


class SearchedIds:
    """`offsets` has the ids of events without an outcome, each with the first offset at which it was met.

    `unread` has the offsets of records whose event cannot be read now, and may be later, once its schema is registered,
    say: their messages may exist at other offsets, so they get none until they are searched too.
    """

    def __init__(self, context: MappingContext, *, schema_of: SchemaOf) -> None:
        """`schema_of` may block."""
        self._context = context
        self._schema_of = schema_of
        self.offsets = EventOffsets()
        self.unread: set[int] = set()
        self.causes: list[Cause | None] = []  #: Of the first records, why they speak against our settings.

    def add(self, record: SourceRecord) -> SourceEvent | None:
        """Note the event of `record`, which has no outcome, and give it; None where it has none that can be read.
        UnavailableError when the registry does not respond."""
        source = self.read(record)
        if source is not None:
            self.offsets.note(source.id, record.position.offset)
        return source

    def read(self, record: SourceRecord) -> SourceEvent | None:
        """The event of `record`, which is not noted."""
        offset = record.position.offset
        try:
            source = decode_now(record, self._context, schema_of=self._schema_of)
        except Exception as error:
            if is_of_a_dependency(error):
                raise
            log.warning("event not read", position=str(record.position), error=error_place(error))
            self.unread.add(offset)
            return None
        if len(self.causes) < MAX_SAMPLE:
            self.causes += _causes(source)
        match source:
            case SourceEvent():
                return source
            case Rejected() | NothingToPublish():
                self.unread.add(offset)
        return None


def _causes(source: SourceEvent | Processed | Rejected | NothingToPublish) -> list[Cause | None]:
    match source:
        case SourceEvent():
            return [None]
        case NothingToPublish():
            return []
        case _:
            return list(causes_of([source]))
