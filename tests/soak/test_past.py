"""The proof of operations on the past: that its checker finds what is planted, and a small run of it."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from processor.domain.operation import OperationId, PastOperation
from processor.domain.operation_record import OperationCounts, OperationState
from processor.domain.outcome import Processed, Rejected
from processor.domain.record import OutRecord, RecordPosition, SourceRecord, TemplateId
from processor.domain.reference import Table
from processor.domain.template import TemplateSet, template_set
from processor.engine.step import Step
from processor.mapping.context import MappingContext
from processor.mapping.reference import Reference
from processor.templates.load import read_templates, require_usable
from processor.wire.operations import progress_out_record
from tests.soak.checker import Finding
from tests.soak.expected import TENANT, Record, Sent, Valid, table_rows, valid_record
from tests.soak.history import StoredRecord
from tests.soak.installation import TEMPLATES_DIR, soak_installation
from tests.soak.latency import Latency, p99_ms
from tests.soak.past_checker import (
    Author,
    OutputChecker,
    authors_of,
    figures_of,
    progress_findings,
    report_findings,
)
from tests.soak.past_expected import (
    LATER_TEMPLATE,
    PastInput,
    ReplayFigures,
    past_outputs,
    replay_figures,
)
from tests.soak.past_kills import EARLY, LATE, DoneKill
from tests.soak.past_run import LATER_TEMPLATES_DIR, PastOptions, PastResult, random_kills, run_past
from tests.soak.workload import mixed_records, partition_of
from tests.support.builders import make_context, make_output_topics, make_progress, map_record, schemas
from tests.support.installation import Installation

PARTITIONS = 2
SKIPPED = OperationId("replay-20261129T075501Z-3f2a91c0")
OTHERS = OperationId("replay-20261129T075502Z-3f2a91c1")


def test_the_later_template_is_that_of_the_folder() -> None:
    """The oracle knows its id, version and name."""
    (template,) = soak_templates(LATER_TEMPLATES_DIR).templates

    assert (LATER_TEMPLATE.id, LATER_TEMPLATE.version, LATER_TEMPLATE.name, (LATER_TEMPLATE.event,)) == (
        template.id,
        template.version,
        template.name,
        template.events,
    )


# ---------------------------------------------------------------------------------------------------------------------
# A history without a broker: what `run` and two replays write, by the real mapping


def soak_templates(*folders: Path) -> TemplateSet:
    """Of these folders together."""
    sets = [require_usable(read_templates(folder, tenant=TENANT, schemas=schemas())) for folder in folders]
    return template_set([template for templates in sets for template in templates.templates])


def table_row(table: Table, key: str) -> bytes | None:
    """The rows that the oracle knows of."""
    for topic, row_key, row in table_rows():
        if (topic, row_key) == (f"reference.{table.name.lower()}", key):
            return json.dumps(row).encode()
    return None


@dataclass(frozen=True)
class History:
    """All that is on the topics: outputs, and the operations topic."""

    installation: Installation
    past: PastInput
    outputs: Sequence[StoredRecord]
    operations: Sequence[StoredRecord]

    def check(self) -> list[Finding]:
        """What the checker finds."""
        authors = authors_of(self.operations)
        checker = OutputChecker(self.installation, past_outputs(self.past), authors)
        found: list[Finding] = []
        for topic in self.installation.outputs:
            records = [record for record in self.outputs if record.topic == topic]
            found += checker.findings(topic, records, partitions=PARTITIONS)
        return [*found, *progress_findings(self.operations, checker.written)]


def sent_records() -> Iterator[Sent]:
    """Some hundred records, without duplicates; some of the repayments are the later template's events."""
    offsets: Counter[int] = Counter()
    for number, record in enumerate(islice(mixed_records(seed=4, duplicate_ratio=0), 300)):
        partition = partition_of(record.key, PARTITIONS)
        is_later = number % 5 == 0 and b'"LOAN_REPAYMENT"' in (record.value or b"")
        sent = reversal(record) if is_later else record
        yield Sent(sent, partition, offsets[partition], 1_773_480_413_000 + number)
        offsets[partition] += 1


def reversal(record: Record) -> Record:
    """The same event under the later template's name, if it is valid."""
    match record.expectation:
        case Valid(event):
            return valid_record({**event, "event": LATER_TEMPLATE.event})
        case _:
            return record


def written_by(context: MappingContext, sent: Sent, only: frozenset[TemplateId] | None = None) -> Iterator[OutRecord]:
    """What the program writes for a record."""
    record = sent.record
    position = RecordPosition(soak().events, sent.partition, sent.offset)
    source = SourceRecord(position, sent.timestamp_ms, record.key, record.value, record.headers)
    outcome = map_record(source, context, only=only)
    assert isinstance(outcome, Processed | Rejected)
    yield from outcome.outputs


def soak() -> Installation:
    """An installation without a broker, whose topics have their default names."""
    return soak_installation("localhost:1", "", protocol="classic", partitions=PARTITIONS)


@pytest.fixture(scope="module")
def history() -> History:
    """40 records of partition 0 were skipped; the last 20 of each partition were mapped with the later template."""
    sent = list(sent_records())
    ends = Counter(record.partition for record in sent)
    past = PastInput(sent, 0, range(30, 70), {partition: end - 20 for partition, end in ends.items()})
    topics = make_output_topics(partitions=PARTITIONS, stream_partitions=PARTITIONS)
    before = make_context(
        templates=soak_templates(TEMPLATES_DIR), output_topics=topics, reference=Reference(rows=table_row)
    )
    after = replace(before, templates=soak_templates(TEMPLATES_DIR, LATER_TEMPLATES_DIR))
    later = frozenset({TemplateId(LATER_TEMPLATE.id)})
    offsets: Counter[tuple[str, int]] = Counter()
    outputs = []
    for author, record in [
        *((Author.RUN, record) for record in sent if not past.is_skipped(record.position)),
        *((Author.SKIPPED, record) for record in sent if past.is_skipped(record.position)),
        *((Author.OTHERS, record) for record in sent if is_of_others(past, record)),
    ]:
        match author:
            case Author.RUN:
                written = written_by(after if past.has_later(record.position) else before, record)
            case Author.SKIPPED:
                written = written_by(replace(after, operation=PastOperation(id=SKIPPED)), record)
            case Author.OTHERS:
                written = written_by(replace(after, operation=PastOperation(id=OTHERS)), record, later)
        for out in written:
            place = (out.topic, out.partition)
            outputs.append(stored(out, offsets[place]))
            offsets[place] += 1
    return History(soak(), past, outputs, list(progress_records(outputs, ends)))


def stored(out: OutRecord, offset: int) -> StoredRecord:
    """A record as it is on its topic."""
    headers = tuple((name, value or b"") for name, value in out.headers)
    return StoredRecord(out.topic, out.partition, offset, 0, out.key, out.value, headers)


def is_of_others(past: PastInput, sent: Sent) -> bool:
    """Whether the set that judged an event did not have the later template."""
    if past.is_skipped(sent.position) or past.has_later(sent.position):
        return False
    match sent.record.expectation:
        case Valid(event):
            return bool(event["event"] == LATER_TEMPLATE.event)
        case _:
            return False


def progress_records(outputs: Sequence[StoredRecord], ends: Mapping[int, int]) -> Iterator[StoredRecord]:
    """What the two replays say of themselves, at the begin and at the end of each partition."""
    topic = make_output_topics().operations
    kinds: dict[str, str] = {
        soak().status: "messages",
        soak().decisions: "decisions",
        soak().dead_letters: "dead_letters",
    }
    for operation, request in ((SKIPPED, {}), (OTHERS, {"includeNew": [LATER_TEMPLATE.id]})):
        for partition, end in sorted(ends.items()):
            counts = Counter(
                kinds[record.topic]
                for record in outputs
                if record.partition == partition
                and record.topic in kinds
                and ("operation", operation.encode()) in record.headers
            )
            begin = make_progress(
                operation=operation,
                partition=partition,
                request=request,
                first_offset=0,
                next_offset=0,
                end_offset=end,
                counts=OperationCounts(),
            )
            done = replace(begin, state=OperationState.DONE, next_offset=end, counts=OperationCounts(**counts))
            for progress in (begin, done):
                yield stored(progress_out_record(progress, topic), 0)


def test_a_history_as_it_must_be(history: History) -> None:
    """The real mapping writes what the oracle says, and each author wrote something."""
    assert [] == history.check()
    assert {None, SKIPPED.encode(), OTHERS.encode()} == {
        dict(record.headers).get("operation") for record in history.outputs
    }


# ---------------------------------------------------------------------------------------------------------------------
# What is planted is found

Plant = Callable[[History], History]


def index_of(history: History, topic: str, operation: OperationId | None) -> int:
    """The second record of a topic that an operation, or `run`, has written."""
    value = None if operation is None else operation.encode()
    return [
        number
        for number, record in enumerate(history.outputs)
        if record.topic == topic and dict(record.headers).get("operation") == value
    ][1]


def with_outputs(history: History, index: int, *records: StoredRecord) -> History:
    """Other records in the place of one."""
    outputs = history.outputs
    return replace(history, outputs=[*outputs[:index], *records, *outputs[index + 1 :]])


def doubled(topic: str, operation: OperationId | None) -> Plant:
    """A record twice."""

    def plant(history: History) -> History:
        index = index_of(history, topic, operation)
        record = history.outputs[index]
        return with_outputs(history, index, record, replace(record, offset=record.offset + 10_000))

    return plant


def missing(topic: str, operation: OperationId | None) -> Plant:
    """A record less."""
    return lambda history: with_outputs(history, index_of(history, topic, operation))


def changed_source(topic: str, operation: OperationId | None) -> Plant:
    """A record that names another offset as its source."""

    def plant(history: History) -> History:
        index = index_of(history, topic, operation)
        record = history.outputs[index]
        value = json.loads(record.value or b"{}")
        value["source"]["offset"] += 1
        return with_outputs(history, index, replace(record, value=json.dumps(value).encode()))

    return plant


def of_operation(topic: str, operation: OperationId | None, other: OperationId | None) -> Plant:
    """A record that says another author."""

    def plant(history: History) -> History:
        index = index_of(history, topic, operation)
        record = history.outputs[index]
        headers = tuple(header for header in record.headers if header[0] != "operation")
        added = () if other is None else (("operation", other.encode()),)
        return with_outputs(history, index, replace(record, headers=(*headers, *added)))

    return plant


def progress(change: Callable[[dict[str, Any]], object], *, state: str = "DONE") -> Plant:
    """The first progress record in a state is another."""

    def plant(history: History) -> History:
        operations = list(history.operations)
        for index, record in enumerate(operations):
            value = json.loads(record.value or b"{}")
            if value["state"] == state:
                change(value)
                operations[index] = replace(record, value=json.dumps(value).encode())
                break
        return replace(history, operations=operations)

    return plant


MESSAGES, STATUS, DECISIONS, DEAD_LETTERS = soak().messages, soak().status, soak().decisions, soak().dead_letters


@pytest.mark.parametrize(
    "plant",
    [
        *(doubled(topic, operation) for topic in (MESSAGES, STATUS, DECISIONS) for operation in (None, SKIPPED)),
        *(missing(topic, operation) for topic in (MESSAGES, STATUS) for operation in (None, SKIPPED, OTHERS)),
        missing(DECISIONS, SKIPPED),
        missing(DEAD_LETTERS, None),
        *(changed_source(topic, operation) for topic in (STATUS, DECISIONS) for operation in (None, SKIPPED)),
        changed_source(STATUS, OTHERS),
        of_operation(STATUS, SKIPPED, None),
        of_operation(STATUS, None, SKIPPED),
        of_operation(STATUS, OTHERS, SKIPPED),
        of_operation(MESSAGES, SKIPPED, OTHERS),
        of_operation(MESSAGES, SKIPPED, OperationId("replay-20261129T075503Z-00000000")),
        progress(lambda value: value.update(state="STOPPED")),
        progress(lambda value: value.update(next=value["end"] - 1)),
        progress(lambda value: value["counts"].update(messages=value["counts"]["messages"] + 1)),
        progress(lambda value: value.update(next=1_000), state="UNDER_WAY"),
        progress(lambda value: value.update(first=5)),
        progress(lambda value: value.update(operation="replay-20261129T075503Z-00000000")),
    ],
)
def test_a_planted_error_is_found(history: History, plant: Plant) -> None:
    """Of messages, statuses, decisions, dead letters, and of what an operation says of itself."""
    assert plant(history).check()


def test_a_dry_run_with_other_figures_is_found(history: History) -> None:
    """Each number of its JSON counts."""
    figures = replay_figures(past_outputs(history.past).skipped)
    report: dict[str, Any] = {
        "partitions": [
            {
                "withoutOutcome": 40,
                "unprovable": 0,
                "shortened": 0,
                "events": figures.events,
                "messages": [{"template": name, "count": count} for name, count in figures.messages.items()],
                "decisions": dict(figures.decisions),
                "deadLetters": dict(figures.dead_letters),
                "failed": [
                    {"template": name, "reason": reason, "count": count}
                    for (name, reason), count in figures.failed.items()
                ],
            }
        ]
    }
    (partition,) = report["partitions"]

    assert figures == figures_of(report)
    assert [] == list(report_findings(report, figures, without_outcome=40, what=""))
    for name, value in (
        ("withoutOutcome", 39),
        ("unprovable", 1),
        ("shortened", 1),
        ("events", figures.events + 1),
        ("messages", partition["messages"][1:]),
        ("decisions", {}),
        ("failed", [{"template": LATER_TEMPLATE.id, "reason": "MISSING_VALUE", "count": 1}]),
    ):
        changed = {"partitions": [{**partition, name: value}]}
        assert list(report_findings(changed, figures, without_outcome=40, what="")), name
    assert ReplayFigures() == figures_of({"partitions": []})


def test_empty_cells_of_the_table() -> None:
    """A step that no kill hit, an open transaction that left nothing, and random moments that are too few."""
    options = PastOptions(kills=2, steps=(Step.BEGUN, Step.PRODUCED))
    result = PastResult(options)
    for author in (Author.SKIPPED, Author.OTHERS):
        result.kills += [DoneKill(author, step, step, 10, 20) for step in options.steps]
    result.kills += [DoneKill(Author.SKIPPED, EARLY, None, 30, 40), DoneKill(Author.OTHERS, LATE, "begun", 50, 60)]

    assert [
        f"produced × {author}: no kill left records of an open transaction" for author in ("skipped", "others")
    ] == (result.empty_cells())
    result.check.aborted = [15]
    assert [] == result.empty_cells()
    assert 7 == len(replace(result, kills=[]).empty_cells())
    assert [(5, 3), (5, 2)] == [random_kills(10, author) for author in (Author.SKIPPED, Author.OTHERS)]
    assert [(1, 1), (1, 0)] == [random_kills(2, author) for author in (Author.SKIPPED, Author.OTHERS)]


def test_latency_of_some_stretches() -> None:
    """The 99th percentile of what was read in them; nothing for too few."""
    latencies = [Latency(float(number), number / 1_000) for number in range(1_000)]

    assert 98.0 == p99_ms(latencies, [(0, 100)])
    assert p99_ms(latencies, [(0, 50)]) is None
    assert p99_ms(latencies, [(0, 50), (900, 950)]) is not None


# ---------------------------------------------------------------------------------------------------------------------
# And on a broker


@pytest.mark.kafka
@pytest.mark.long
def test_replays_are_killed_beside_run(bootstrap_servers: str, topic_prefix: str, tmp_path: Path) -> None:
    """The dry run has both numbers; each replay publishes exactly its own, once, whatever kills it; `run` and the
    group's positions are as if there was none."""
    options = PastOptions(
        events=400,
        kills=2,
        partitions=2,
        skipped=40,
        others=20,
        seed=3,
        rate=50,
        steps=(Step.PRODUCED, Step.COMMITTED),
        calm_s=0,
        replay_s=6,
        processes=1,
    )

    result = run_past(bootstrap_servers, topic_prefix, options, folder=tmp_path, log=lambda _text: None)

    assert [] == [str(finding) for finding in result.findings]
    assert [] == result.empty_cells()
    assert 40 == result.figures[Author.SKIPPED].events
    assert result.figures[Author.OTHERS].events > 0
