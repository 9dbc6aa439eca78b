"""An event told twice is mapped once: design section 9, claim 6; and the judge itself."""

from dataclasses import replace

import pytest

from tests.chaos import scenes
from tests.chaos.expected import Dead, Record, Repeat, Sent, good
from tests.chaos.load import Feeder, make_event
from tests.chaos.reader import read
from tests.chaos.scenes import Ground, Shown
from tests.chaos.verify import verify
from tests.kafka.stages import scene

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]


@scene(scenes.told_twice)
def test_the_same_event_twice(played: Shown) -> None:
    """Claim 6: in the same batch, in the next, and after a restart, by another process: one message, and three
    decisions."""
    assert str(played.verdict) == "0 findings"
    assert played.verdict.counts["communications.decisions"] == 3


@scene(scenes.input_twice)
def test_the_same_input_twice(played: Shown) -> None:
    """A producer that tells all it has told once more makes no second message."""
    assert str(played.verdict) == "0 findings"
    assert played.facts["messages_before"] == played.verdict.counts["communications.messages"]


@scene(scenes.windows_edge, "classic")
def test_the_windows_edge(played: Shown) -> None:
    """Claim 6: with a window of 50 records, a repeat 50 offsets later is a duplicate, also after a restart that has
    read the window back; 51 offsets later it is a birth again, under the same keys."""
    assert [52] == played.facts["declined"]
    assert played.facts["births_of_the_first"] == played.facts["births_twice"]
    assert played.facts["births_once"] == 50 * len(played.facts["births_twice"])


@scene(scenes.calm)
def test_calm(played: Shown) -> None:
    """A mixed load with repeats and bad records, no fault: everything once, in order, `--until-end` ends with 0."""
    assert str(played.verdict) == "0 findings"
    assert played.verdict.hidden == frozenset()


def test_the_judge_can_fail(quiet: Ground) -> None:
    """An output copied to the end of its partition, one that nobody expects, one that is missing and a repetition that
    names another first record are all found."""
    site = quiet.site("judge", {})
    feeder = Feeder(site.servers, site.events, partitions=site.partitions)
    feeder.send([*scenes.records(200, seed=9), Record(b"k", b"\xff\xff", Dead("BAD_FRAME"), ())])
    with quiet.worker(site, until_end=True) as worker:
        assert worker.wait(30) == 0
    sent = feeder.committed()
    assert str(verify(site, sent)) == "0 findings"

    missing = Sent(good(make_event(account=99)), 0, 99_999, 0)
    assert {"LOST"} == {finding.kind for finding in verify(site, [*sent, missing]).findings}

    letters = [one for one in sent if not isinstance(one.record.fate, Dead)]
    assert {"UNEXPECTED"} == {finding.kind for finding in verify(site, letters).findings}

    named = [
        replace(entry, record=replace(entry.record, fate=replace(entry.record.fate, first=(0, 99_999))))
        if isinstance(entry.record.fate, Repeat)
        else entry
        for entry in sent
    ]
    assert {"CONTENT"} == {finding.kind for finding in verify(site, named).findings}

    copied = next(record for record in read(site.servers, (site.messages,)) if record.offset == 3)
    forger = Feeder(site.servers, site.messages, partitions=site.partitions)
    forger.send([Record(copied.key, copied.value, Dead(""))], partition=copied.partition)
    assert {"DOUBLED", "OUT_OF_ORDER"} == {finding.kind for finding in verify(site, sent).findings}
