"""The outcomes of the records of an events partition, as its outputs say: statuses, decisions and dead letters.

A function of the outputs alone, never of what can be decoded today: a schema that comes or goes, or another key check,
changes nothing of what was published.

Non-obvious: what `run` writes of one source partition lies in the order of the sources (a later status of a message
does not, nor what a replay or redrive writes), so a topic is read from its end back to the first that is old enough. A
position that was set back by a person begins a second pass behind the first; reading on until an older source is found
takes in both. An open transaction holds back what is committed behind its begin, and a broker that lost its marker may
hold it open for ever.
"""

from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from itertools import chain
from typing import Final, NamedTuple

import structlog
from confluent_kafka import Consumer, Message, TopicPartition

from processor.domain.outcome import SourceOutcome, StatusOutcome
from processor.domain.output_topics import DECISION, STATUS, FixedOutput, OutputTopics
from processor.domain.record import Headers, TemplateId, Topic
from processor.engine.executor import scan_maker
from processor.errors import InputError, UnavailableError
from processor.kafka.clients import Admin, headers_of
from processor.kafka.offsets import Extent, offset_at_time, partition_extent
from processor.kafka.read_range import (
    FIRST_CHUNK_OFFSETS,
    StalledReadError,
    UnpackError,
    chunks_back,
    open_reader,
    read_range,
)
from processor.settings import InputTopic, Settings
from processor.templates.used_texts import UsedTexts, text_digest
from processor.wire.dead_letter import dead_letter_outcome
from processor.wire.output_fields import source_outcome_reader
from processor.wire.reader_schemas import Schemas
from processor.wire.schema import SchemaOf
from processor.wire.template_sets import stored_templates

log = structlog.get_logger()

REQUEST_TIMEOUT_S: Final = 10.0
PROGRESS_INTERVAL_OFFSETS: Final = 10_000  # between two calls of a pass's `on_progress`
UNREADABLE_HINT: Final = "a newer version may have written it"

ReadSource = Callable[[bytes, Headers], SourceOutcome]
"""What an output of one kind says of its source; ValueError when it cannot be read."""

OnProgress = Callable[[int, int], None]
"""Called with how many offsets are done, and of how many."""


@dataclass(frozen=True, slots=True)
class FirstRecord:
    """The oldest record that a partition of a topic still has: its offset, and its Kafka timestamp (UTC)."""

    offset: int
    time_ms: int


class WrittenOutcome(NamedTuple):
    """What an output says, and its Kafka timestamp (UTC): when it was written, not when its source was."""

    time_ms: int
    outcome: SourceOutcome


class OutcomeReader:
    """Reads the outputs of one events partition. Blocks in each method; for use by one thread.

    The methods raise UnavailableError when nothing comes for 30 s, a batch cannot be unpacked or the broker does not
    respond, and AuthorizationError when reading an output is refused.
    """

    def __init__(
        self, settings: Settings, schemas: Schemas, partition: int, *, schema_of: SchemaOf, admin: Admin
    ) -> None:
        """`schema_of` also finds schemas of outputs that were registered after we started."""
        self._settings = settings
        self._events = settings.topic(InputTopic.EVENTS)
        self._partition = partition
        self._admin = admin
        self._dead_letters = settings.topic(FixedOutput.DEAD_LETTERS)
        reader = partial(
            source_outcome_reader,
            schemas=schemas,
            schema_of=schema_of,
            make_scan=scan_maker(settings.plan),
        )
        self._read_source: Mapping[Topic, ReadSource] = {
            settings.topic(FixedOutput.STATUS): reader(STATUS),
            settings.topic(FixedOutput.DECISIONS): reader(DECISION),
            self._dead_letters: lambda _value, headers: dead_letter_outcome(headers),
        }

    # Where a partition starts

    def any_published_offset(self) -> int | None:
        """The first source offset that is found; None and InputError as `highest_published_offset`."""
        with closing(self._published_offsets()) as offsets:
            return next(offsets, None)

    def highest_published_offset(self, *, on_progress: OnProgress | None = None) -> int | None:
        """The highest source offset of all; None when no output has a record of the partition as its source.

        Raises InputError for a record that cannot be read: what it stands for would be published again.
        """
        with closing(self._published_offsets(on_progress)) as offsets:
            return max(offsets, default=None)

    def _published_offsets(self, on_progress: OnProgress | None = None) -> Generator[int]:
        """Of all outputs, read as `read_committed` up to the end, so that open transactions are waited for."""
        extents = self.extents().values() if on_progress is not None else ()
        progress = _Progress(sum(extent.end - extent.first for extent in extents), on_progress)
        with self._reader() as reader:
            for topic in self._read_source:
                extent = self._extent(topic)  # as it is when it is read: what came since counts too
                for message in read_range(reader, topic, self._partition, extent.first, extent.end):
                    progress.reach((message.offset() or 0) - extent.first)
                    outcome = self._outcome(message)
                    if outcome is not None:
                        yield outcome.source.offset
                progress.finish(extent.end - extent.first)

    # What is in the deduplication window

    def outcomes_between(self, first: int, end: int) -> dict[int, SourceOutcome]:
        """By source offset, in order, the outcomes of the records at offsets [first, end), all of them committed.

        Open transactions are not waited for, as one may hang for ever: what lies behind their begin is read uncommitted
        where no committed outcome of a source is found. Such an output is committed and held back by another
        transaction, or it is another try of the same record, whose outcome is the same.
        Where outputs differ (a record that was mapped again after a position was set back), one that has an event wins.
        A record that cannot be read is ignored and logged: it is somebody else's, or of a version that cannot be read
        yet, and one such record must not keep a partition from being mapped.
        """
        if first >= end:
            return {}
        sources = range(first, end)
        committed: dict[int, SourceOutcome] = {}
        hidden: dict[int, SourceOutcome] = {}
        extents = self.extents()
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
        """The outcomes at offsets [begin, end) of `topic`, from the end back to one of `run` for a source before
        `first`; in chunks, not in order.

        Of `run`, since a replay or redrive writes of any source behind all others.
        """
        for low, high in chunks_back(begin, end, first_offsets=FIRST_CHUNK_OFFSETS):
            oldest: int | None = None
            for outcome in self._chunk(reader, topic, low, high):
                if oldest is None and outcome.operation is None:
                    oldest = outcome.source.offset
                yield outcome
            if oldest is not None and oldest < first:
                return

    def _chunk(self, reader: Consumer, topic: Topic, begin: int, end: int) -> Iterator[SourceOutcome]:
        """What the outputs at offsets [begin, end) of `topic` say, in order; a message's later statuses say nothing."""
        for message in read_range(reader, topic, self._partition, begin, end):
            outcome = self._outcome_or_skip(message, strict=False)
            if outcome is not None and not _is_later(outcome):
                yield outcome

    # What became of each record: for operations on the past

    def extents(self) -> dict[Topic, Extent]:
        """What the partition holds now of status, decisions and dead letters, by topic."""
        return {topic: self._extent(topic) for topic in self._read_source}

    def first_records(self) -> dict[Topic, FirstRecord | None]:
        """The oldest record of each topic that a `read_committed` reader sees now; None where there is none."""
        with self._reader() as reader:
            return {topic: self._first_record(reader, topic, extent) for topic, extent in self.extents().items()}

    def _first_record(self, reader: Consumer, topic: Topic, extent: Extent) -> FirstRecord | None:
        for message in read_range(reader, topic, self._partition, extent.first, extent.stable):
            return FirstRecord(message.offset() or 0, message.timestamp()[1])
        return None

    def offsets_at(self, time_ms: int) -> dict[Topic, int]:
        """For each topic the first offset whose record was produced at `time_ms` (UTC) or later, to begin a pass at.

        Where there is none, the last stable offset: what an open transaction holds is behind it.
        """
        return {
            topic: offset_at_time(self._admin, topic, self._partition, time_ms, hint=self._grant)
            for topic in self._read_source
        }

    def outcomes_from(
        self, begins: Mapping[Topic, int], *, on_progress: OnProgress | None = None, strict: bool = True
    ) -> Generator[SourceOutcome]:
        """What the outputs at offsets from `begins` on say, one topic after the other, up to the ends of now.

        Ends are those that a `read_uncommitted` reader sees when this begins, and what is read is committed: an open
        transaction is waited for, and UnavailableError names it when nothing comes for 30 s. Statuses after a message's
        creation are passed over. Nothing is kept. A record that cannot be read is an InputError that names it, or, if
        not `strict`, ignored and logged. A topic that `begins` lacks is not read.
        """
        with closing(self.written_from(begins, on_progress=on_progress, strict=strict)) as written:
            for output in written:
                yield output.outcome

    def written_from(
        self, begins: Mapping[Topic, int], *, on_progress: OnProgress | None = None, strict: bool = True
    ) -> Generator[WrittenOutcome]:
        """As `outcomes_from`, with the time at which each output was written."""
        ends = {topic: self._extent(topic).end for topic in begins}
        progress = _Progress(sum(max(0, end - begins[topic]) for topic, end in ends.items()), on_progress)
        with self._reader() as reader, _stalls_described():
            for topic, end in ends.items():
                begin = begins[topic]
                for message in read_range(reader, topic, self._partition, begin, end):
                    progress.reach((message.offset() or 0) - begin)
                    outcome = self._outcome_or_skip(message, strict=strict)
                    if outcome is not None and not _is_later(outcome):
                        yield WrittenOutcome(message.timestamp()[1], outcome)
                progress.finish(max(0, end - begin))

    def outcomes_of(self, source: int, *, on_progress: OnProgress | None = None) -> Generator[SourceOutcome]:
        """All that the outputs say of the record at offset `source`, one topic after the other.

        Each topic is read from its end, with open transactions waited for as in `outcomes_from`, back to an outcome of
        `run` for a record before `source`. A record that cannot be read is ignored and logged.
        """
        extents = self.extents()
        progress = _Progress(sum(extent.end - extent.first for extent in extents.values()), on_progress)
        with self._reader() as reader, _stalls_described():
            for topic, extent in extents.items():
                outcomes = self._back_to(source, reader, topic, extent.first, extent.end)
                for count, outcome in enumerate(outcomes, start=1):
                    progress.reach(count)
                    if outcome.source.offset == source:
                        yield outcome
                progress.finish(extent.end - extent.first)

    def _outcome_or_skip(self, message: Message, *, strict: bool) -> SourceOutcome | None:
        """As `_outcome`; a record that cannot be read is an InputError if `strict`, else logged and None."""
        try:
            return self._outcome(message)
        except InputError as error:
            if strict:
                raise InputError(error.what, hint=UNREADABLE_HINT) from error
            log.error("output cannot be read", cause=str(error))  # noqa: TRY400  the cause is its text
            return None

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
                hint=f"{UNREADABLE_HINT}; `--start-from beginning`, `end` or a time starts without reading it",
            ) from error
        is_ours = (outcome.source.topic, outcome.source.partition) == (self._events, self._partition)
        return outcome if is_ours else None

    def _extent(self, topic: Topic) -> Extent:
        return partition_extent(self._admin, topic, self._partition, hint=self._grant)

    @property
    def _grant(self) -> str:
        return f"grant READ on {', '.join(self._read_source)}"

    @contextmanager
    def _reader(self, *, isolation: str = "read_committed") -> Iterator[Consumer]:
        with open_reader(self._settings, hint=self._grant, isolation=isolation) as reader:
            yield reader


class _Progress:
    """Counts the offsets of a pass over several topics, and says so now and then."""

    def __init__(self, total: int, on_progress: OnProgress | None) -> None:
        self._total = total
        self._on_progress = on_progress
        self._before = 0  # of topics that are done
        self._next = PROGRESS_INTERVAL_OFFSETS

    def reach(self, done: int) -> None:
        """So many offsets of this topic are done."""
        if self._before + done >= self._next:
            self._report(self._before + done)

    def finish(self, offsets: int) -> None:
        """This topic had so many, and is done."""
        self._before += offsets
        self._report(self._before)

    def _report(self, done: int) -> None:
        self._next = done + PROGRESS_INTERVAL_OFFSETS
        if self._on_progress is not None:
            self._on_progress(done, self._total)


@contextmanager
def _stalls_described() -> Iterator[None]:
    """UnavailableError, with place and time, for a range that stalls."""
    try:
        yield
    except StalledReadError as stalled:
        raise UnavailableError(stalled.description) from stalled


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
