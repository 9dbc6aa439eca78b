"""Sends the cases of `tests.soak.duplicates` beside the workload, each across a restart."""

import json
import threading
from collections import Counter
from pathlib import Path
from typing import Final

from confluent_kafka import KafkaException

from tests.soak.checker import Kind
from tests.soak.duplicates import CASES, DuplicateCase, duplicate_cases
from tests.soak.history import group_positions
from tests.soak.iteration import LARGE_BATCH, RunningIteration, duplicate_label
from tests.soak.registry import Registry
from tests.soak.workload import InputProducer, event_json, expands_to_150_mb, partition_of

FIRST_ACCOUNT: Final = 10_000  # of the cases; beyond those of the workload
FIRST_NUMBER: Final = 10_000_000  # of their records; beyond those of the workload


class DuplicateSender:
    """A thread that sends the first records of all cases, and the duplicates of each when its partition has started
    again, in another process or the same one; then the case again, with another account."""

    def __init__(self, running: RunningIteration, registry: Registry) -> None:
        self._running, self._registry, self._installation = running, registry, running.installation
        self.producer = InputProducer(running.installation, compressed=True, numbers_from=FIRST_NUMBER)
        self._sent: dict[str, DuplicateCase] = {}
        self._processed: dict[str, DuplicateCase] = {}  # and the registry has changed since
        self._ends: dict[str, int] = {}  # case -> the offset after its first records
        self._numbers: Counter[str] = Counter()
        self._start_offsets: dict[int, int] = {}  # partition -> the latest start offset in a worker's log
        self._read_bytes: dict[Path, int] = {}  # log -> bytes that were read
        self.thread = threading.Thread(target=self._run, name="duplicates", daemon=True)

    def _run(self) -> None:
        try:
            self.producer.send([expands_to_150_mb(event_json(account=FIRST_ACCOUNT - 1))])
            self._running.count(LARGE_BATCH)
            for name in CASES:
                self._send_first(name)
            while not self._running.done.wait(0.5):
                self._find_processed()
                self._find_starts()
                for name, case in tuple(self._processed.items()):
                    if self._start_offsets.get(self._partition(case), -1) >= self._ends[name]:
                        self._send_duplicates(name)
                        self._send_first(name)
        except BaseException as error:  # the iteration reports it
            self._running.add_finding(Kind.HARNESS, f"duplicates: {error!r}")

    def finish(self) -> None:
        """To be called when no worker is left: the duplicates of what was processed are for the workers that follow."""
        self.thread.join(120)
        self._find_processed()
        for name in tuple(self._processed):
            self._send_duplicates(name)

    def _partition(self, case: DuplicateCase) -> int:
        return partition_of(case.key, self._installation.partitions)

    def _send_first(self, name: str) -> None:
        self._numbers[name] += 1
        number = self._numbers[name]
        case = duplicate_cases(first_account=FIRST_ACCOUNT * number, number=number)[name]
        self.producer.send(case.before, partition=self._partition(case))
        self._ends[name] = self.producer.last_offsets[self._partition(case)] + 1
        self._sent[name] = case

    def _find_processed(self) -> None:
        try:
            positions = group_positions(self._installation.servers, self._installation.group, self._installation.events)
        except KafkaException:  # the broker is away
            return
        for name, case in tuple(self._sent.items()):
            if positions.get(self._partition(case), -1) >= self._ends[name]:
                case.change_registry(self._registry)
                self._processed[name] = self._sent.pop(name)

    def _send_duplicates(self, name: str) -> None:
        case = self._processed.pop(name)
        self.producer.send(case.after, partition=self._partition(case))
        self._running.count(duplicate_label(name))

    def _find_starts(self) -> None:
        for log in self._running.logs():
            text = log.read_bytes()[self._read_bytes.get(log, 0) :]
            lines = text[: text.rfind(b"\n") + 1]
            self._read_bytes[log] = self._read_bytes.get(log, 0) + len(lines)
            for line in lines.splitlines():
                if b'"partition started"' in line:
                    start = json.loads(line)
                    partition = start["partition"]
                    self._start_offsets[partition] = max(self._start_offsets.get(partition, -1), start["offset"])
