"""The outcomes of the records of an events partition, as its outputs say: statuses, decisions and dead letters.

A function of the outputs alone, never of what can be decoded today: a schema that comes or goes, or another key check,
changes nothing of what was published.

Non-obvious: outputs of one source partition lie in the order of their sources (a later status of a message would not),
so a topic is read from its end back to the first that is old enough. A position that was set back by a person begins a
second pass behind the first; reading on until an older source is found takes in both. An open transaction holds back
what is committed behind its begin, and a broker that lost its marker may hold it open for ever.
"""

from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from typing import Final

import structlog
from confluent_kafka import Consumer, Message, TopicPartition

from processor.domain.outcome import SourceOutcome, StatusOutcome
from processor.domain.output_topics import DECISION, STATUS, OutputTopics
from processor.domain.record import Headers, TemplateId, Topic
from processor.errors import InputError
from processor.kafka.clients import headers_of
from processor.kafka.read_range import UnpackError, open_reader, read_range
from processor.settings import InputTopic, Settings
from processor.templates.used_texts import UsedTexts, text_digest
from processor.wire.dead_letter import dead_letter_outcome
from processor.wire.output_fields import source_outcome_reader
from processor.wire.reader_schemas import Schemas
from processor.wire.schema import SchemaOf
from processor.wire.template_sets import stored_templates

log = structlog.get_logger()

REQUEST_TIMEOUT_S: Final = 10.0
FIRST_CHUNK_OFFSETS: Final = 20_000  # read back at first: 10,000 records with a message and a marker each; then doubled


@dataclass(frozen=True, slots=True)
class Extent:
    """What an output's partition holds: its first offset, the last stable offset, and the end behind open transactions.

    What lies from `stable` on is hidden from `read_committed`, committed or not.
    """

    first: int
    stable: int
    end: int


ExtentOf = Callable[[Topic], Extent]
"""Of our partition in a topic, as it is now. Blocks."""

ReadSource = Callable[[bytes, Headers], SourceOutcome]
"""What an output of one kind says of its source; ValueError when it cannot be read."""


class OutcomeReader:
    """Reads the outputs of one events partition. Blocks in each method; for use by one thread.

    The methods raise UnavailableError when nothing comes for 30 s, a batch cannot be unpacked or the broker does not
    respond, and AuthorizationError when reading an output is refused.
    """

    def __init__(
        self,
        settings: Settings,
        schemas: Schemas,
        topics: OutputTopics,
        partition: int,
        *,
        schema_of: SchemaOf,
        extent_of: ExtentOf,
    ) -> None:
        """`schema_of` also finds schemas of outputs that were registered after we started."""
        self._settings = settings
        self._events = settings.topic(InputTopic.EVENTS)
        self._partition = partition
        self._extent_of = extent_of
        self._dead_letters = topics.dead_letters.name
        self._read_source: Mapping[Topic, ReadSource] = {
            topics.status.name: source_outcome_reader(STATUS, schemas=schemas, schema_of=schema_of),
            topics.decisions.name: source_outcome_reader(DECISION, schemas=schemas, schema_of=schema_of),
            topics.dead_letters.name: lambda _value, headers: dead_letter_outcome(headers),
        }

    def any_published_offset(self) -> int | None:
        """The first source offset that is found; None and InputError as `highest_published_offset`."""
        with closing(self._published_offsets()) as offsets:
            return next(offsets, None)

    def highest_published_offset(self) -> int | None:
        """The highest source offset of all; None when no output has a record of the partition as its source.

        Raises InputError for a record that cannot be read: what it stands for would be published again.
        """
        with closing(self._published_offsets()) as offsets:
            return max(offsets, default=None)

    def _published_offsets(self) -> Generator[int]:
        """Of all outputs, read as `read_committed` up to the end, so that open transactions are waited for."""
        with self._reader() as reader:
            for topic in self._read_source:
                extent = self._extent_of(topic)
                for message in read_range(reader, topic, self._partition, extent.first, extent.end):
                    outcome = self._outcome(message)
                    if outcome is not None:
                        yield outcome.source.offset

    def outcomes_between(self, first: int, end: int) -> dict[int, SourceOutcome]:
        """By source offset, in order, the outcomes of the records at offsets [first, end), all of them committed.

        Open transactions are not waited for, as one may hang for ever: what lies behind their begin is read uncommitted
        where no committed outcome of a source is found. Such an output is committed and
        held back by another transaction, or it is another try of the same record, whose outcome is the same.
        Where outputs differ (a record that was mapped again after a position was set back), one that has an event wins.
        A record that cannot be read is ignored and logged: it is somebody else's, or of a version that cannot be read
        yet, and one such record must not keep a partition from being mapped.
        """
        if first >= end:
            return {}
        sources = range(first, end)
        committed: dict[int, SourceOutcome] = {}
        hidden: dict[int, SourceOutcome] = {}
        extents = {topic: self._extent_of(topic) for topic in self._read_source}
        with self._reader() as reader:
            for topic, extent in extents.items():
                for outcome in self._back_to(first, reader, topic, extent.first, extent.stable):
                    _add(outcome, sources, committed)
        held_back = {topic: extent for topic, extent in extents.items() if extent.stable < extent.end}
        if held_back:
            log.info("open transactions in outputs", topics=sorted(held_back), partition=self._partition)
            with self._reader(isolation="read_uncommitted") as reader:
                for topic, extent in held_back.items():
                    for outcome in self._back_to(first, reader, topic, extent.stable, extent.end):
                        _add(outcome, sources, hidden)
        return dict(sorted((hidden | committed).items()))

    def _back_to(self, first: int, reader: Consumer, topic: Topic, begin: int, end: int) -> Iterator[SourceOutcome]:
        """The outcomes at offsets [begin, end) of `topic`, from the end back to one of a source before `first`; in
        chunks, not in order."""
        size = FIRST_CHUNK_OFFSETS
        while begin < end:
            chunk_begin = max(begin, end - size)
            oldest: int | None = None
            for outcome in self._chunk(reader, topic, chunk_begin, end):
                oldest = outcome.source.offset if oldest is None else oldest
                yield outcome
            if oldest is not None and oldest < first:
                return
            end, size = chunk_begin, 2 * size

    def _chunk(self, reader: Consumer, topic: Topic, begin: int, end: int) -> Iterator[SourceOutcome]:
        """What the outputs at offsets [begin, end) of `topic` say, in order; a message's later statuses say nothing."""
        for message in read_range(reader, topic, self._partition, begin, end):
            try:
                outcome = self._outcome(message)
            except InputError as error:
                log.error("output cannot be read", cause=str(error))  # noqa: TRY400  the cause is its text
                continue
            if outcome is not None and not _is_later(outcome):
                yield outcome

    def _outcome(self, message: Message) -> SourceOutcome | None:
        """What a record says of its source; None when that is not of our partition. InputError: not readable."""
        topic, value = Topic(message.topic() or ""), message.value()
        try:
            headers = headers_of(message)
            if not value and topic != self._dead_letters:
                return None
            outcome = self._read_source[topic](value or b"", headers)
        except ValueError as error:
            raise InputError(
                f"{topic}[{message.partition()}]@{message.offset()} cannot be read, so it is unknown which events "
                f"were published: {error}",
                hint="a newer version may have written it; `--start-from beginning`, `end` or a time starts without "
                "reading it",
            ) from error
        is_ours = (outcome.source.topic, outcome.source.partition) == (self._events, self._partition)
        return outcome if is_ours else None

    @contextmanager
    def _reader(self, *, isolation: str = "read_committed") -> Iterator[Consumer]:
        hint = f"grant READ on {', '.join(self._read_source)}"
        with open_reader(self._settings, hint=hint, isolation=isolation) as reader:
            yield reader


def _is_later(outcome: SourceOutcome) -> bool:
    """Whether this is a status after its message's creation."""
    return isinstance(outcome, StatusOutcome) and outcome.later


def _add(outcome: SourceOutcome, sources: range, found: dict[int, SourceOutcome]) -> None:
    """Keep `outcome` by its source's offset if that is one of `sources`, unless another one there names the event."""
    offset = outcome.source.offset
    if offset in sources and (offset not in found or found[offset].seen_event_id is None):
        found[offset] = outcome


_UsedText = tuple[tuple[TemplateId, int], bytes]


@dataclass(frozen=True, slots=True)
class PublishedSets:
    """The template sets that were published: the keys of their records, and the texts of their templates."""

    keys: Collection[str]
    texts: UsedTexts


def published_template_sets(settings: Settings, topics: OutputTopics) -> PublishedSets:
    """The template sets that were published, below any open transaction. Blocks while it reads; keeps digests alone.

    A set that is published twice is the same record twice, so where a batch cannot be unpacked reading ends with a
    warning, and later sets are published again. A set that was taken away by a null value is none. A record that is no
    template set is skipped with a warning, a template without content without one.
    Raises AuthorizationError when reading is refused, UnavailableError when the broker does not respond.
    """
    topic = topics.template_sets
    sets: dict[str, tuple[_UsedText, ...]] = {}
    seen: dict[bytes, _UsedText] = {}  # most sets share most of their templates
    invalid: list[int] = []
    with open_reader(settings, hint=f"grant READ on {topic.name}") as reader:
        low, high = reader.get_watermark_offsets(TopicPartition(topic.name, 0), REQUEST_TIMEOUT_S)
        try:
            for message in read_range(reader, topic.name, 0, low, high):
                key, value = (message.key() or b"").decode(errors="replace"), message.value()
                sets.pop(key, None)
                try:
                    if value:
                        sets[key] = tuple(_used_texts(value, seen))
                except ValueError:
                    invalid.append(message.offset() or 0)
        except UnpackError as error:
            log.warning("template sets read in part", cause=str(error))
    if invalid:
        log.warning("invalid template sets ignored", topic=topic.name, records=len(invalid), first_offset=invalid[0])
    texts: dict[tuple[TemplateId, int], set[bytes]] = {}
    for version, digest in chain.from_iterable(sets.values()):
        texts.setdefault(version, set()).add(digest)
    return PublishedSets(frozenset(sets), texts)


def _used_texts(value: bytes, seen: dict[bytes, _UsedText]) -> Iterator[_UsedText]:
    """The texts of a record's templates; `seen` has those of earlier records. ValueError when it is no template set."""
    for template in stored_templates(value):
        if template.content is None:
            continue
        digest = blake2b(f"{template.id} {template.version} {template.content}".encode(), digest_size=16).digest()
        if digest not in seen:
            seen[digest] = (template.id, template.version), text_digest(template.content)
        yield seen[digest]
