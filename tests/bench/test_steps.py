"""Where the milliseconds of an event go: its steps follow each other, from its schedule to its reader."""

from itertools import count
from typing import Any

import pytest
from confluent_kafka import Message

from processor.engine.step import Step
from tests.bench.observed import ContenderError
from tests.bench.step_worker import StepTimes
from tests.bench.steps import STEPS, VARIANTS, figures_of, steps_of

BATCH: dict[str, Any] = {
    "poll": 10.020,
    "records": [[0, 0, 10_002, 10.025], [1, 0, 10_027, 10.026]],
    "polled": 10.030,
    "mapped": 10.040,
    "begun": 10.041,
    "produced": 10.045,
    "offsets_sent": 10.050,
    "committed": 10.060,
}


def test_steps_add_up_to_the_whole() -> None:
    """An event that came while the loop was busy waits for its next poll; one that came later is with the batch."""
    (first, second) = steps_of([BATCH], 2, {0: 10.0, 1: 10.001}, {0: 10.070, 1: 10.071})

    milliseconds = [[round(1000 * seconds) for seconds in event.values()] for event in (first, second)]
    assert [[2, 18, 5, 5, 10, 5, 5, 10, 10], [26, 0, 0, 3, 10, 5, 5, 10, 11]] == milliseconds
    assert [*STEPS] == [*first]
    assert 0.070 == pytest.approx(sum(first.values()))
    assert 70 == figures_of([first, second])["all"]["mean"]


def test_an_event_outside_of_the_batches_has_no_steps() -> None:
    """Nor has the run: its transaction failed, or it was mapped in another pass."""
    with pytest.raises(ContenderError, match="1 of 2 events are in one batch each"):
        steps_of([BATCH], 2, {0: 10.0, 2: 10.001}, {0: 10.070, 2: 10.071})


class Record(Message):
    """A record as the client gives it."""

    def __init__(self, offset: int) -> None:
        self._at = offset

    def error(self) -> None:
        return None

    def partition(self) -> int:
        return 1

    def offset(self) -> int:
        return self._at

    def timestamp(self) -> tuple[int, int]:
        return 2, 5


def run_pass(times: StepTimes, *offsets: int, steps: tuple[Step, ...]) -> None:
    """One pass of the loop, which gets these records."""
    times.before_consume()
    times.after_consume([Record(offset) for offset in offsets])
    for step in steps:
        times.on_step(step)


def test_a_batch_has_the_records_of_its_own_pass() -> None:
    """A pass without records leaves nothing behind."""
    times = StepTimes()
    committed = (Step.POLLED, Step.MAPPED, Step.BEGUN, Step.PRODUCED, Step.OFFSETS_SENT, Step.COMMITTING)
    run_pass(times, steps=(Step.POLLED,))
    run_pass(times, 7, 8, steps=(*committed, Step.COMMITTED))
    run_pass(times, steps=(Step.POLLED,))
    run_pass(times, 9, steps=(*committed, Step.COMMITTED))

    assert [[(1, 7), (1, 8)], [(1, 9)]] == [
        [(partition, offset) for partition, offset, _, _ in batch["records"]] for batch in times.batches
    ]
    for batch in times.batches:
        assert batch["poll"] <= batch["records"][0][3] <= batch[Step.POLLED] <= batch[Step.COMMITTED]


def test_a_record_of_a_later_call_is_with_the_batch_since_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have come at any time while more were waited for."""
    seconds = count(1)
    monkeypatch.setattr("tests.bench.step_worker.time.time", lambda: next(seconds))
    times = StepTimes()
    run_pass(times, 1, steps=())
    run_pass(times, 2, steps=(Step.POLLED, Step.MAPPED, Step.COMMITTED))
    (batch,) = times.batches

    assert {"poll": 1, Step.POLLED: 4, Step.MAPPED: 5, Step.COMMITTED: 6}.items() <= batch.items()
    assert [2, 3] == [since for _, _, _, since in batch["records"]]


def test_the_first_variant_changes_nothing() -> None:
    """The others are compared with it."""
    assert {} == VARIANTS["default"]
    assert all(settings for name, settings in VARIANTS.items() if name != "default")
