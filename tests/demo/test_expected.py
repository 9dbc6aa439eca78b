"""What the demo holds outputs against: summaries of template files, and counts that notice what is wrong."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from processor.demo.expected import (
    Counts,
    Expected,
    InputRef,
    OutputRef,
    TemplateSummary,
    TopicNames,
    add_expected,
    read_summaries,
    verify,
)
from processor.domain.ids import eid, encoded_key
from processor.domain.record import TemplateId
from processor.errors import InternalError
from processor.templates.load import SHIPPED

Json = dict[str, Any]
CLIENT = {"encodedKey": "c" * 32, "creditOfficer": {"encodedKey": "0" * 32}}
TREASURER = {"encodedKey": "d" * 32}
GROUP = {"encodedKey": "e" * 32, "members": [{"client": CLIENT}, {"role": "treasurer", "client": TREASURER}]}
LOAN = {"encodedKey": "a" * 32, "kind": "LOAN"}
DEPOSIT = {"encodedKey": "b" * 32, "kind": "DEPOSIT"}
TOPICS = TopicNames("m", "s", "d", "dl", "n", {"LOAN_REPAYMENT": "stream"})


def event_json(event_id: str = "e1", name: str = "LOAN_REPAYMENT", **fields: Any) -> Json:
    return {"eventId": event_id, "event": name, "tenant": "northbank", "account": LOAN, **fields}


def make_summary(**changes: Any) -> TemplateSummary:
    fields: Json = {
        "id": TemplateId("t"),
        "channel": "EMAIL",
        "events": ("LOAN_REPAYMENT",),
        "target": "LOANS",
        "recipient": "CLIENT",
        "role": None,
        "active": True,
        "opt_in": False,
    }
    return TemplateSummary(**{**fields, **changes})


def outputs_of(expected: Expected) -> list[tuple[str, str]]:
    return sorted((topic, output) for topic, output, _ in expected.all())


# Templates


def test_shipped_templates_are_understood() -> None:
    """Every shipped template has a summary; a field that is unknown there would stop the demo."""
    assert len(list(SHIPPED.glob("*.toml"))) == len(read_summaries(SHIPPED))


def test_a_file_with_an_unknown_field_is_refused(tmp_path: Path) -> None:
    """A template with conditions has other counts than its event's: better no demo than a wrong one."""
    shipped = next(SHIPPED.glob("*.toml")).read_text(encoding="utf-8")
    (tmp_path / "t.toml").write_text(
        shipped + '\n[[condition]]\nfield = "TENANT"\noperator = "EMPTY"\n', encoding="utf-8"
    )
    with pytest.raises(InternalError, match=r"t\.toml: what condition does"):
        read_summaries(tmp_path)


@pytest.mark.parametrize(
    ("template", "event", "expected"),
    [
        (make_summary(), event_json(client=CLIENT), "c" * 32),
        (make_summary(), event_json(group=GROUP), None),
        (make_summary(), event_json(client=CLIENT, account=DEPOSIT), None),
        (make_summary(target="SAVINGS"), event_json(client=CLIENT, account=DEPOSIT), "c" * 32),
        (make_summary(target="CLIENT"), event_json(group=GROUP), None),
        (make_summary(target="GROUP", recipient="GROUP"), event_json(group=GROUP), "e" * 32),
        (make_summary(recipient="GROUP_ROLE", role="Treasurer"), event_json(group=GROUP), "d" * 32),
        (make_summary(recipient="GROUP_ROLE", role="Secretary"), event_json(group=GROUP), None),
        (make_summary(recipient="CREDIT_OFFICER"), event_json(client=CLIENT), "0" * 32),
        (make_summary(recipient="CREDIT_OFFICER"), event_json(group=GROUP), None),
        (make_summary(recipient="CUSTOM_FIELD"), event_json(group=GROUP), "e" * 32),
        (make_summary(channel="EVENT_STREAM", recipient=None), event_json(group=GROUP), ""),
        (make_summary(active=False), event_json(client=CLIENT), None),
        (make_summary(opt_in=True), event_json(client=CLIENT), None),
    ],
)
def test_recipient_of_a_message(template: TemplateSummary, event: Json, expected: str | None) -> None:
    """The recipient's key, empty for a stream, None where the event makes no message."""
    assert expected == template.recipient_key(event)


def test_outputs_of_an_event() -> None:
    """Each message has a status, a stream's also its stream event; a template that makes none leaves one decision."""
    expected = Expected()
    stream = make_summary(id=TemplateId("s"), channel="EVENT_STREAM", recipient=None)
    add_expected(expected, event_json(group=GROUP), InputRef(0, "a"), templates=[make_summary(), stream], topics=TOPICS)
    key = encoded_key("northbank", "e1", TemplateId("s"), recipient="")

    assert sorted([("m", key), ("s", key), ("stream", eid(key)), ("d", "e1")]) == outputs_of(expected)


def test_an_event_without_a_template_is_a_decision() -> None:
    """NO_TEMPLATE is one record, too."""
    expected = Expected()
    add_expected(
        expected,
        event_json(name="FEE_APPLIED", client=CLIENT),
        InputRef(0, "a"),
        templates=[make_summary()],
        topics=TOPICS,
    )

    assert [("d", "e1")] == outputs_of(expected)


# Counts


def make_expected(outputs: Sequence[tuple[str, str, int, str]]) -> Expected:
    """Of (topic, id, number of its input, key)."""
    expected = Expected()
    for topic, output, number, key in outputs:
        expected.add(topic, output, InputRef(number, key))
    return expected


ALL = [("m", f"{key}{number}", number, key) for number in range(4) for key in ("a", "b")]
GOOD = [OutputRef("m", 0 if output[0] == "a" else 1, output) for _, output, _, _ in ALL]


def test_matching_outputs_have_no_errors() -> None:
    """What was read is what was expected, in order for each key: no error of any kind."""
    counts = verify(make_expected(ALL), GOOD)

    assert Counts({"m": 8}, duplicates=0, lost=0, out_of_order=0) == counts
    assert counts.discrepancies == 0


@pytest.mark.parametrize("place", [1, 4, 8])
def test_a_repeated_record_is_one_duplicate(place: int) -> None:
    """A record repeated, right behind itself or much later, is one duplicate and nothing else."""
    counts = verify(make_expected(ALL), [*GOOD[:place], GOOD[0], *GOOD[place:]])

    assert Counts({"m": 9}, duplicates=1, lost=0, out_of_order=0) == counts


def test_a_swap_is_one_record_out_of_order() -> None:
    """Two neighbours of one key in the wrong order are one record out of order, and nothing else."""
    swapped = list(GOOD)
    swapped[2], swapped[4] = swapped[4], swapped[2]

    assert Counts({"m": 8}, duplicates=0, lost=0, out_of_order=1) == verify(make_expected(ALL), swapped)


def test_a_swap_between_keys_is_no_error() -> None:
    """Between keys no order is promised."""
    swapped = list(GOOD)
    swapped[2], swapped[3] = swapped[3], swapped[2]

    assert verify(make_expected(ALL), swapped).discrepancies == 0


def test_missing_outputs_are_lost() -> None:
    """Every output that was not read counts, on a topic of which nothing was read too."""
    expected = make_expected([*ALL, ("s", "x", 0, "a")])

    assert Counts({"m": 7}, duplicates=0, lost=2, out_of_order=0) == verify(expected, GOOD[1:])


def test_unexpected_outputs_are_duplicates() -> None:
    """An id that no event makes, and a topic on which nothing is expected, count as read too often."""
    surplus = [*GOOD, OutputRef("m", 0, "unheard of"), OutputRef("elsewhere", 0, "a0")]

    assert Counts({"m": 9, "elsewhere": 1}, duplicates=2, lost=0, out_of_order=0) == verify(make_expected(ALL), surplus)


def test_an_id_expected_twice_is_read_twice() -> None:
    """An id that two inputs make (a decision, and that of the repeat) is expected twice; thrice is a duplicate."""
    expected = make_expected([("d", "e1", 0, "a"), ("d", "e1", 5, "a")])
    output = OutputRef("d", 0, "e1")
    found = [(counts.lost, counts.duplicates) for n in (1, 2, 3) if (counts := verify(expected, [output] * n))]

    assert [(1, 0), (0, 0), (0, 1)] == found


def test_another_partition_is_out_of_order() -> None:
    """A key in two partitions has no order, even when the records were read in one."""
    moved = [*GOOD[:-2], OutputRef("m", 1, GOOD[-2].id), GOOD[-1]]

    assert verify(make_expected(ALL), moved).out_of_order == 1
