"""The records of one transaction."""

from collections.abc import Iterable, Iterator, Sequence

from processor.domain.outcome import BatchOutcome
from processor.domain.value_class import value_class
from processor.engine.partition import AssignedPartition


@value_class()
class ProcessedRecords:
    """The outcome of one record, or of a run of them, and the assignment they were polled under."""

    partition: AssignedPartition
    outcome: BatchOutcome


def outcomes_of(batch: Iterable[ProcessedRecords]) -> list[BatchOutcome]:
    """The outcomes, in order."""
    return [processed.outcome for processed in batch]


def record_count_of(batch: Iterable[ProcessedRecords]) -> int:
    """How many records it has."""
    return sum([processed.outcome.record_count for processed in batch])


def split_batch(
    batch: Sequence[ProcessedRecords], *, max_records: int, max_output_bytes: int
) -> Iterator[Sequence[ProcessedRecords]]:
    """Consecutive chunks. Each ends with what makes it `max_records` or `max_output_bytes` of outputs."""
    chunk: list[ProcessedRecords] = []
    record_count = output_bytes = 0
    for processed in batch:
        chunk.append(processed)
        record_count += processed.outcome.record_count
        output_bytes += processed.outcome.output_bytes
        if record_count >= max_records or output_bytes >= max_output_bytes:
            yield chunk
            chunk, record_count, output_bytes = [], 0, 0
    if chunk:
        yield chunk
