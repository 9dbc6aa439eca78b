"""Dead letters: the source untouched, why it is one in headers, and read back as it was."""

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.message import DeadLetter, FailedTemplate
from processor.domain.output_topics import OutputTopic
from processor.domain.reasons import Reason, TemplateReason
from processor.domain.record import Headers, OutRecord, RecordPosition, TemplateId, Topic
from processor.wire.dead_letter import dead_letter_outcome, dead_letter_record, omitted_value_bytes, read_dead_letter

TOPIC = OutputTopic(Topic("communications.dead-letters"), 6, 1_000_000)
NAMES = ("reason", "detail", "topic", "partition", "offset", "timestamp", "failed", "attempts", "version")


def make_letter(**changed: Any) -> DeadLetter:
    """A record that was cut short."""
    letter = DeadLetter(
        position=RecordPosition(Topic("banking.events"), 4, 129),
        timestamp_ms=1_773_480_413_702,
        key=b"\xffkey",
        value=b"\x00broken",
        headers=(("traceparent", b"00-ab"), ("traceparent", None)),
        reason=Reason.INVALID_EVENT,
        detail="account.id: cut short",
    )
    return replace(letter, **changed)


def failure(number: int, detail: str = "no name: é") -> FailedTemplate:
    """One template that failed."""
    return FailedTemplate(
        templateId=TemplateId(f"t-{number}"),
        templateVersion=2,
        reason=TemplateReason.MISSING_VALUE,
        detail=detail,
    )


def read(record: OutRecord) -> DeadLetter:
    """The letter of a record."""
    return read_dead_letter(key=record.key, value=record.value, headers=record.headers)


def test_a_dead_letter_has_all_that_the_contract_names() -> None:
    """The source's headers first and untouched, then `dl.…`; its key, value and partition."""
    record = dead_letter_record(make_letter(failed=(failure(1),)), topic=TOPIC)

    assert (
        OutRecord(
            Topic("communications.dead-letters"),
            4,
            b"\xffkey",
            b"\x00broken",
            (
                ("traceparent", b"00-ab"),
                ("traceparent", None),
                ("dl.reason", b"INVALID_EVENT"),
                ("dl.detail", b"account.id: cut short"),
                ("dl.topic", b"banking.events"),
                ("dl.partition", b"4"),
                ("dl.offset", b"129"),
                ("dl.timestamp", b"1773480413702"),
                (
                    "dl.failed",
                    b'[{"templateId":"t-1","templateVersion":2,"reason":"MISSING_VALUE","detail":"no name: \\u00e9"}]',
                ),
                ("dl.attempts", b"1"),
                ("dl.version", b"1"),
            ),
        )
        == record
    )


_headers = st.lists(
    st.tuples(
        st.text(max_size=6) | st.sampled_from(["operation", *(f"dl.{n}" for n in NAMES)]), st.none() | st.binary()
    )
)
_failures = st.builds(
    FailedTemplate,
    templateId=st.text(max_size=9),
    templateVersion=st.integers(1, 99),
    reason=st.sampled_from(TemplateReason),
    detail=st.text(max_size=30),
)
LETTERS = st.builds(
    DeadLetter,
    position=st.builds(RecordPosition, st.text(min_size=1, max_size=9), st.integers(0, 99), st.integers(0, 2**63 - 1)),
    timestamp_ms=st.integers(-1, 2**63 - 1),
    key=st.none() | st.binary(),
    value=st.none() | st.binary(),
    headers=_headers.map(tuple),
    reason=st.sampled_from(Reason),
    detail=st.text(max_size=50),
    failed=st.lists(_failures, max_size=3).map(tuple),
    attempts=st.just(1_000_000),  # over anything that a source's own header could say
    operation=st.none() | st.text(max_size=9),
)


@given(letter=LETTERS)
def test_a_dead_letter_is_read_back_as_it_was(letter: DeadLetter) -> None:
    """Bytes, place, headers, also such as are named like a dead letter's: so a redrive makes the same messages."""
    assert letter == read(dead_letter_record(letter, topic=TOPIC))


@given(letter=LETTERS, trips=st.integers(1, 4))
def test_repeated_dead_letters_keep_the_source(letter: DeadLetter, trips: int) -> None:
    """A dead letter copied to the input as it is, failing again and again: each one still holds the one before."""
    records = [dead_letter_record(letter, topic=TOPIC)]
    for _ in range(trips):
        last = records[-1]
        again = replace(letter, key=last.key, value=last.value, headers=last.headers, attempts=1)
        records.append(dead_letter_record(again, topic=TOPIC))
    for before, after in pairwise(records):
        assert before.headers == read(after).headers
        assert (before.key, before.value) == (read(after).key, read(after).value)

    assert letter == read(records[0])


@pytest.mark.parametrize(
    ("headers", "attempts", "counted"),
    [
        ((), 1, 1),
        ((), 3, 3),
        ((("dl.attempts", b"2"),), 1, 3),
        ((("dl.attempts", b"7"), ("dl.attempts", b"2")), 1, 3),
        ((("dl.attempts", b"2"),), 9, 9),
        ((("dl.attempts", b"many"),), 1, 1),
        ((("dl.attempts", None),), 1, 1),
        ((("dl.attempts", b"9" * 5_000),), 1, 1),
        ((("dl.attempts", "٣".encode()),), 1, 1),
    ],
)
def test_attempts_are_counted_up(headers: Headers, attempts: int, counted: int) -> None:
    """A source that has been a dead letter says how often; what is no number says nothing."""
    assert counted == read(dead_letter_record(make_letter(headers=headers, attempts=attempts), topic=TOPIC)).attempts


def test_a_long_detail_is_truncated() -> None:
    """At 1,000 characters, whatever their bytes."""
    record = dead_letter_record(make_letter(detail="é" * 3_000), topic=TOPIC)

    assert "é" * 1_000 == read(record).detail


def test_many_failed_templates_are_cut_to_whole_entries() -> None:
    """Within 32 KiB, still JSON, and `dl.failed_count` says how many there were; without a cut it is not there."""
    failed = tuple(failure(number, "x" * 500) for number in range(200))
    record = dead_letter_record(make_letter(failed=failed), topic=TOPIC)
    headers = dict(record.headers)
    listed = json.loads(headers["dl.failed"] or b"")

    assert b"200" == headers["dl.failed_count"]
    assert 32 * 1024 - 700 < len(headers["dl.failed"] or b"") <= 32 * 1024
    assert failed[: len(listed)] == read(record).failed
    assert "dl.failed_count" not in dict(dead_letter_record(make_letter(failed=failed[:9]), topic=TOPIC).headers)


def test_a_dead_letter_that_does_not_fit_leaves_the_value_out() -> None:
    """Value and source headers stay where they are; the place, the key and the length of the value go on."""
    letter = make_letter(value=b"v" * 999_900)
    record = dead_letter_record(letter, topic=TOPIC)
    left = read(record)

    assert record.size_bytes <= TOPIC.limit_bytes
    assert (None, b"\xffkey", 999_900) == (record.value, record.key, omitted_value_bytes(record.headers))
    assert replace(letter, value=None, headers=()) == left


def test_a_dead_letter_of_exactly_the_limit_fits() -> None:
    """A byte more does not."""
    spare = TOPIC.limit_bytes - dead_letter_record(make_letter(value=b""), topic=TOPIC).size_bytes
    complete = dead_letter_record(make_letter(value=b"v" * spare), topic=TOPIC)

    assert (TOPIC.limit_bytes, None) == (complete.size_bytes, omitted_value_bytes(complete.headers))
    assert spare + 1 == omitted_value_bytes(
        dead_letter_record(make_letter(value=b"v" * (spare + 1)), topic=TOPIC).headers
    )


def test_a_key_that_does_not_fit_is_left_out_too() -> None:
    """The place still says where it is."""
    record = dead_letter_record(make_letter(key=b"k" * 1_000_000), topic=TOPIC)

    assert (None, None) == (record.key, record.value)
    assert RecordPosition(Topic("banking.events"), 4, 129) == read(record).position


def test_half_surrogates_do_not_stop_a_dead_letter() -> None:
    """Whatever text a detail holds, it becomes bytes."""
    record = dead_letter_record(make_letter(detail="\ud800"), topic=TOPIC)

    assert "\\ud800" == read(record).detail


def test_reasons_of_a_newer_version_are_other() -> None:
    """Their word goes in front of the detail, for the record and for a template."""
    record = dead_letter_record(make_letter(failed=(failure(1, "x"),)), topic=TOPIC)
    newer = tuple(
        (name, (value or b"").replace(b"INVALID_EVENT", b"NEWER").replace(b"MISSING_VALUE", b"NEWEST"))
        for name, value in record.headers
    )
    letter = read_dead_letter(key=None, value=None, headers=newer)

    assert (Reason.OTHER, "NEWER: account.id: cut short") == (letter.reason, letter.detail)
    assert (TemplateReason.OTHER, "NEWEST: x") == (letter.failed[0].reason, letter.failed[0].detail)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dl.reason", None),
        ("dl.offset", b"x"),
        ("dl.failed", b"{"),
        ("dl.failed", b"[1]"),
        ("dl.failed", b'[{"templateId": "a"}]'),
        ("dl.topic", b"\xff"),
        ("dl.attempts", ...),
    ],
)
def test_foreign_records_are_refused(name: str, value: Any) -> None:
    """Somebody else's record on the topic: ValueError, not a guess."""
    record = dead_letter_record(make_letter(), topic=TOPIC)
    kept = [(header, text) for header, text in record.headers if header != name]
    headers = kept if value in (None, ...) else [*kept, (name, value)]

    with pytest.raises(ValueError, match="not a dead letter"):
        read_dead_letter(key=None, value=None, headers=tuple(headers))


def test_when_its_event_occurred_counts_where_the_record_has_no_time() -> None:
    """Both are kept; the window is restored with the one that counts."""
    plain = make_letter(reason=Reason.TEMPLATE_FAILED, event_id="e")
    letter = replace(plain, timestamp_ms=-1, occurred_at_ms=-5)
    headers = dead_letter_record(letter, topic=TOPIC).headers

    assert letter == read(dead_letter_record(letter, topic=TOPIC))
    assert (letter.position, -5, "e") == (
        (outcome := dead_letter_outcome(headers)).source,
        outcome.time_ms,
        outcome.seen_event_id,
    )
    assert 1_773_480_413_702 == dead_letter_outcome(dead_letter_record(plain, topic=TOPIC).headers).time_ms
