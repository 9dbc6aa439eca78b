"""The checker of operations on the past: all outputs by who wrote them, and what the operations say of themselves."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from tests.soak.checker import Finding, Kind, Lineage, topic_findings
from tests.soak.expected import ExpectedOutputs
from tests.soak.history import StoredRecord, read
from tests.soak.past_expected import PastOutputs, ReplayFigures
from tests.support.installation import Installation
from tests.support.read_to_end import partition_counts

OPERATION_HEADER: Final = "operation"
COUNTED: Final = ("messages", "decisions", "deadLetters")  # as a progress record names them


class Author(StrEnum):
    """Who writes outputs."""

    RUN = "run"
    SKIPPED = "skipped"  #: The replay of events without an outcome.
    OTHERS = "others"  #: The one with `--include-new`.


@dataclass(slots=True)
class PastCheck:
    """What was found. `aborted`: the times (ms since 1970) of the records of past operations that only
    `read_uncommitted` readers see. `counts`: records by who wrote them and topic, without prefix. `operations`: how
    many wrote something, by what they do; more than one where a kill came between two partitions."""

    findings: list[Finding] = field(default_factory=list)
    aborted: list[int] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    operations: Counter[Author] = field(default_factory=Counter)


Written = Counter[tuple[str, int, str]]
"""How many records an operation wrote, by its id, partition, and the kind that a progress record counts."""


class OutputChecker:
    """Checks topics one after the other, so that no more than one is in memory, and counts what is there."""

    def __init__(self, installation: Installation, expected: PastOutputs, authors: Mapping[str, Author]) -> None:
        """`authors` says what each operation does, by its id."""
        by_author: dict[Author, ExpectedOutputs] = {
            Author.RUN: expected.run,
            Author.SKIPPED: expected.skipped,
            Author.OTHERS: expected.others,
        }
        self._installation = installation
        self.authors = authors
        self._lineages = {author: Lineage(installation, outputs) for author, outputs in by_author.items()}
        self._counted: dict[str, str] = {
            installation.status: "messages",
            installation.decisions: "decisions",
            installation.dead_letters: "deadLetters",
        }
        self.written: Written = Counter()
        self.counts: Counter[tuple[str, str]] = Counter()

    def findings(self, topic: str, records: Iterable[StoredRecord], *, partitions: int) -> Iterator[Finding]:
        """What is wrong with all records of a topic: those of each author, as if there were no others."""
        by_author: dict[Author, list[StoredRecord]] = {author: [] for author in Author}
        for record in records:
            operation = operation_of(record)
            author = Author.RUN if operation is None else self.authors.get(operation)
            if author is None:
                yield Finding(Kind.UNEXPECTED, f"{record.at} is of operation {operation}")
                continue
            by_author[author].append(record if operation is None else _without_operation(record))
            self.counts[author, topic.removeprefix(self._installation.prefix)] += 1
            if operation is not None and topic in self._counted:
                self.written[operation, record.partition, self._counted[topic]] += 1
        for author, of_author in by_author.items():
            for finding in topic_findings(self._lineages[author], topic, of_author, partitions=partitions):
                yield replace(finding, detail=f"{author}: {finding.detail}")


def check_past(installation: Installation, expected: PastOutputs) -> PastCheck:
    """Check all outputs, and what stands on the operations topic. To be called when no process is left. Blocks."""
    check = PastCheck()
    partitions = partition_counts(installation.servers, installation.outputs)
    operations = read(installation.servers, (installation.operations,))
    checker = OutputChecker(installation, expected, authors_of(operations))
    for topic in installation.outputs:
        records = read(installation.servers, (topic,))
        check.findings += checker.findings(topic, records, partitions=partitions[topic])
        check.aborted += _aborted(installation, topic, records)
    check.findings += progress_findings(operations, checker.written)
    check.counts = checker.counts
    writers = {operation for operation, _, _ in checker.written}
    check.operations = Counter(checker.authors[operation] for operation in writers)
    return check


def authors_of(operations: Iterable[StoredRecord]) -> dict[str, Author]:
    """What each replay was asked for, by its id: the records of the operations topic say so."""
    return {
        value["operation"]: Author.OTHERS if value["request"].get("includeNew") else Author.SKIPPED
        for value in _progress(operations)
    }


def progress_findings(operations: Iterable[StoredRecord], written: Written) -> Iterator[Finding]:
    """Whether each operation ended once in each partition, never went back, and counts what it has written.
    `operations`: in the order of each partition."""
    by_place: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for value in _progress(operations):
        by_place.setdefault((value["operation"], value["partition"]), []).append(value)
    for (operation, partition), of_place in by_place.items():
        counts = {kind: written[operation, partition, kind] for kind in COUNTED}
        for text in _progress_mismatches(of_place, counts):
            yield Finding(Kind.PROGRESS, f"{operation} in partition {partition}: {text}")


def _progress_mismatches(values: Sequence[Mapping[str, Any]], written: Mapping[str, int]) -> Iterator[str]:
    """Of one operation in one partition."""
    offsets, states, last = [value["next"] for value in values], [value["state"] for value in values], values[-1]
    if offsets != sorted(offsets):
        yield f"it goes back: {offsets}"
    if last["state"] != "DONE" or states.count("DONE") != 1:
        yield f"it does not end by one DONE: {states[-5:]}"
    if len({(value["first"], value["end"]) for value in values}) != 1 or last["next"] != last["end"]:
        yield f"its range changes, or is not dealt with: {last}"
    counts = {kind: last["counts"].get(kind) for kind in COUNTED}
    if counts != written:
        yield f"it counts {counts}, and wrote {written}"


def report_findings(
    report: Mapping[str, Any], expected: ReplayFigures, *, without_outcome: int, what: str
) -> Iterator[Finding]:
    """Whether the JSON of a dry run has the figures that are expected."""
    actual = figures_of(report)
    without = sum(partition["withoutOutcome"] for partition in report["partitions"])
    if (actual, without) != (expected, without_outcome):
        yield Finding(Kind.REPORT, f"{what}: {without} without outcome, {actual}, not {without_outcome}, {expected}")
    for name in ("unprovable", "shortened"):
        if count := sum(partition[name] for partition in report["partitions"]):
            yield Finding(Kind.REPORT, f"{what}: {count} {name}")


def figures_of(report: Mapping[str, Any]) -> ReplayFigures:
    """Of all partitions of a replay's JSON."""
    total = ReplayFigures()
    for partition in report["partitions"]:
        messages: Counter[str] = Counter()
        for row in partition["messages"]:
            messages[row["template"]] += row["count"]
        total += ReplayFigures(
            partition["events"],
            messages,
            Counter(partition["decisions"]),
            Counter(partition["deadLetters"]),
            Counter({(row["template"], row["reason"]): row["count"] for row in partition["failed"]}),
        )
    return total


def _progress(operations: Iterable[StoredRecord]) -> Iterator[Mapping[str, Any]]:
    for record in operations:
        value = json.loads(record.value or b"{}")
        if value.get("kind") == "PROGRESS":
            yield value


def _aborted(installation: Installation, topic: str, committed: Iterable[StoredRecord]) -> Iterator[int]:
    """The times of the aborted records of past operations."""
    seen = {record.at for record in committed}
    for record in read(installation.servers, (topic,), isolation="read_uncommitted", values=False):
        if operation_of(record) is not None and record.at not in seen:
            yield record.timestamp_ms


def operation_of(record: StoredRecord) -> str | None:
    """The id of the operation that wrote a record; None: `run`."""
    return next((value.decode() for name, value in record.headers if name == OPERATION_HEADER), None)


def _without_operation(record: StoredRecord) -> StoredRecord:
    """As `run` would have written it."""
    return replace(record, headers=tuple(header for header in record.headers if header[0] != OPERATION_HEADER))
