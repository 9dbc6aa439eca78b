"""The records of one transaction."""

from collections.abc import Iterator, Sequence

from processor.domain.outcome import Processed, Rejected
from processor.domain.value_class import value_class
from processor.engine.partition import AssignedPartition


@value_class()
class ProcessedRecord:
    """The outcome of one record, and the assignment it was polled under."""

    partition: AssignedPartition
    outcome: Processed | Rejected

    @property
    def memory_bytes(self) -> int:
        """What it keeps in memory."""
        return self.outcome.record.size_bytes + self.outcome.output_bytes


def outcomes_of(batch: Sequence[ProcessedRecord]) -> list[Processed | Rejected]:
    """The outcomes, in order."""
    return [record.outcome for record in batch]


def split_batch(
    batch: Sequence[ProcessedRecord], *, max_records: int, max_output_bytes: int
) -> Iterator[Sequence[ProcessedRecord]]:
    """Consecutive chunks. Each ends with the record that makes it `max_records` or `max_output_bytes` of outputs."""
    chunk: list[ProcessedRecord] = []
    chunk_bytes = 0
    for record in batch:
        chunk.append(record)
        chunk_bytes += record.outcome.output_bytes
        if len(chunk) >= max_records or chunk_bytes >= max_output_bytes:
            yield chunk
            chunk, chunk_bytes = [], 0
    if chunk:
        yield chunk
