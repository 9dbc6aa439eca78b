"""The soak's own parts: the oracle, the proxy's frames, the registry, a workload that a seed repeats."""

import json
import struct
import threading
import time
from importlib.metadata import version
from itertools import islice
from typing import cast

import pytest
import requests

from processor.domain.event import Event
from processor.wire.schema_parser import parse_writer_schema
from tests.soak import registry
from tests.soak.assignments import OutputTime, Start, assignment_findings
from tests.soak.duplicates import duplicate_cases
from tests.soak.expected import (
    TEMPLATES,
    DeadLettered,
    Duplicate,
    Sent,
    Valid,
    eid_of,
    encoded_key_of,
    expected_outputs,
    valid_record,
)
from tests.soak.fault_runner import FaultRunner
from tests.soak.history import StoredRecord
from tests.soak.installation import TEMPLATES_DIR
from tests.soak.iteration import RunningIteration
from tests.soak.proxy import Api, accepted_records, end_txn_succeeded, read_request, refuse_records
from tests.soak.registry import (
    DELETABLE_ID,
    GOOD_ID,
    LATE_ID,
    LATE_REFUSED_ID,
    ODD_KINDS,
    REFUSED_ID,
    Registry,
    framed_record,
    odd_id,
)
from tests.soak.workload import event_json, mixed_records
from tests.support.wire import decode_with, raw_record


def test_encoded_keys_of_two_examples() -> None:
    """The oracle's digest gives the keys of the domain's two example messages."""
    email = encoded_key_of(
        "northbank",
        "7f1d2c52-6a0e-4d0f-9b57-2f4f0c6a9e11",
        "loan-repayment-email",
        "8a8e867d5b1a4c0e015b1a5f3c0a0001",
    )

    assert email == "f7057037637ada1e806489eb4bfde71d"
    assert (
        encoded_key_of("northbank", "c0a5a1de-53a1-4f43-8b1f-1c9f2f5b7a20", "savings-deposit-stream", "")
        == "e0d96d82587221510afb1c6032ce0ded"
    )


def test_eid_is_a_version_8_uuid() -> None:
    """An eid keeps the key's digits but for version 8 and the variant."""
    assert eid_of("f" * 32) == "ffffffff-ffff-8fff-bfff-ffffffffffff"
    assert eid_of("0" * 32) == "00000000-0000-8000-8000-000000000000"


def test_templates_are_those_of_the_folder() -> None:
    """The oracle knows each template of the folder, and no other."""
    assert sorted(template.id for template in TEMPLATES) == sorted(path.stem for path in TEMPLATES_DIR.glob("*.toml"))


@pytest.mark.parametrize(
    ("event", "messages", "skipped", "failed"),
    [
        (event_json(), 4, 0, 0),
        (event_json(strict=False), 3, 0, 1),
        (event_json(group=True), 1, 3, 0),
        (event_json("SAVINGS_DEPOSIT"), 2, 0, 0),
        (event_json("CLIENT_CREATED"), 0, 1, 0),
    ],
)
def test_expected_outputs_of_an_event(event: dict[str, object], messages: int, skipped: int, failed: int) -> None:
    """A message for each template that applies, a reason for each that does not, an entry for each that fails."""
    outputs = expected_outputs([Sent(valid_record(event), 0, 7, 1_000)])

    assert messages == len(outputs.messages)
    assert skipped == sum(len(reasons) for _, reasons in outputs.decisions.values())
    assert failed == sum(len(dead_letter.failed) for dead_letter in outputs.dead_letters.values())


def test_the_workload_is_reproducible() -> None:
    """The same seed gives the same workload, another gives another; some of its valid events come more than once."""
    first, again, other = ([*islice(mixed_records(seed=seed), 500)] for seed in (3, 3, 4))
    event_ids = [record.expectation.event["eventId"] for record in first if isinstance(record.expectation, Valid)]

    assert first == again
    assert first != other
    assert len(set(event_ids)) < len(event_ids)
    assert not any(isinstance(record.expectation, Duplicate) for record in first)


@pytest.mark.parametrize(("version", "commits"), [(1, True), (1, False), (3, True), (4, False)])
def test_end_txn_requests_are_parsed(version: int, commits: bool) -> None:
    """Whether an EndTxn commits is read from plain and from flexible frames."""
    client, name = b"processor", b"group:host:0"
    head = struct.pack(">hhih", Api.END_TXN, version, 77, len(client)) + client
    identity = struct.pack(">qh", 12, 3)
    if version >= 3:
        frame = head + b"\x00" + bytes([len(name) + 1]) + name + identity + bytes([commits]) + b"\x00"
    else:
        frame = head + struct.pack(">h", len(name)) + name + identity + bytes([commits])
    request = read_request(frame)

    assert (Api.END_TXN, version, 77, commits) == (request.api, request.version, request.correlation, request.commits)


def test_responses_are_parsed() -> None:
    """Only partitions without an error are accepted; an EndTxn that is refused does not end the transaction."""
    accepted = struct.pack(">ihqqqi", 2, 0, 500, -1, 0, 0) + struct.pack(">h", -1)
    failed = struct.pack(">ihqqqi", 3, 47, -1, -1, 0, 0) + struct.pack(">h", -1)
    produced = struct.pack(">iih", 9, 1, 1) + b"t" + struct.pack(">i", 2) + accepted + failed + struct.pack(">i", 0)

    assert [("t", 2, 500)] == list(accepted_records(produced, 8))
    assert [] == list(accepted_records(refuse_records(produced, 8), 8))
    assert end_txn_succeeded(struct.pack(">iih", 9, 0, 0), 1)
    assert not end_txn_succeeded(struct.pack(">iih", 9, 0, 51), 1)


def response_of(url: str, schema_id: int) -> object:
    """The registry's response for an id: whether it is a schema, else its status or the error's name."""
    try:
        response = requests.get(f"{url}/schemas/ids/{schema_id}", timeout=0.5)
        if response.status_code != 200:
            return response.status_code
        value = response.json()
    except (ValueError, OSError) as error:
        return type(error).__name__
    return bool(parse_writer_schema(value["schema"]).type) and not value.get("references")


def test_registry_responses_by_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry has the schema of an id, does not have it, or responds oddly, as the number decides."""
    monkeypatch.setattr(registry, "ODD_PERIOD_S", 0.8)
    with Registry() as odd_registry:
        assert [True, True, 404, 403] == [
            response_of(odd_registry.url, n) for n in (GOOD_ID, GOOD_ID + 3, 3, REFUSED_ID)
        ]
        assert [404, True, 403] == [response_of(odd_registry.url, n) for n in (LATE_ID, DELETABLE_ID, LATE_REFUSED_ID)]
        odd_registry.register(LATE_ID)
        odd_registry.register(LATE_REFUSED_ID)
        odd_registry.delete(DELETABLE_ID)
        assert [True, 404, True] == [response_of(odd_registry.url, n) for n in (LATE_ID, DELETABLE_ID, LATE_REFUSED_ID)]

        odd_kinds = {kind: response_of(odd_registry.url, odd_id(kind, 2)) for kind in ODD_KINDS}
        assert [403, 429, 500, "JSONDecodeError", False, "ConnectionError", "ReadTimeout"] == list(odd_kinds.values())
        time.sleep(0.8)
        assert {True} == {response_of(odd_registry.url, odd_id(kind, 2)) for kind in ODD_KINDS}
    with Registry(always_available=True) as available_registry:
        assert {True} == {
            response_of(available_registry.url, n)
            for n in (REFUSED_ID, LATE_ID, *(odd_id(kind, 4) for kind in ODD_KINDS))
        }
        assert {*ODD_KINDS, registry.REFUSED_KIND} == set(odd_registry.odd_kinds)


@pytest.mark.parametrize("name", registry.AVRO_EVENTS)
@pytest.mark.parametrize("group", [False, True])
def test_both_producers_write_the_same_event(name: str, group: bool) -> None:
    """An event in the other producer's Avro is decoded as the same event as its JSON."""
    event = event_json(name, account=7, number=12, group=group)
    record, plain = framed_record(event, GOOD_ID), valid_record(event)
    (schema_id, text) = int.from_bytes((record.value or b"")[1:5], "big"), registry._SCHEMAS[name == "SAVINGS_DEPOSIT"]
    from_avro = decode_with(
        raw_record(record.value, key=record.key), writers={schema_id: parse_writer_schema(json.dumps(text))}
    )
    from_json = decode_with(raw_record(plain.value, plain.headers, key=plain.key))

    assert isinstance(from_json, Event)
    assert from_json == from_avro


def test_the_workload_has_odd_schemas() -> None:
    """With a registry: half in Avro, with some schema ids of each kind; it repeats."""
    avro, again = ([*islice(mixed_records(seed=5, avro=True), count)] for count in (20_000, 2_000))
    framed_ids = {
        int.from_bytes((record.value or b"")[1:5], "big")
        for record in avro
        if not record.headers and isinstance(record.expectation, Valid)
    }
    kinds = {number // 1_000_000 for number in framed_ids}
    refused = [record for record in avro if record.expectation == DeadLettered("UNKNOWN_SCHEMA")]

    assert again == avro[:2_000]
    assert {0, *range(1, len(ODD_KINDS) + 1)} == kinds
    assert len(refused) > 1


def test_duplicate_cases_are_independent() -> None:
    """Each has an account and an event of its own, and its records have one key."""
    cases = [case for number in (1, 2) for case in duplicate_cases(first_account=9, number=number).values()]
    events = {
        record.expectation.event["eventId"]
        for case in cases
        for record in case.after
        if isinstance(record.expectation, Valid)
    }

    assert len(cases) == len(events)
    assert {case.key for case in cases} == {record.key for case in cases for record in case.after}


@pytest.mark.process
def test_a_runner_hangs_by_its_fault_alone() -> None:
    """However many faults it has: one that makes progress is waited for, and one whose fault does not end is not."""
    runner = FaultRunner(cast(RunningIteration, None), "w0", ())
    released = threading.Event()

    def inject_faults() -> None:
        for _ in range(6):
            runner.fault_began_at = time.monotonic()
            time.sleep(0.3)
        released.wait(30)

    runner.thread = threading.Thread(target=inject_faults, daemon=True)
    runner.fault_began_at = began = time.monotonic()
    runner.thread.start()

    assert not runner.wait(0.6)
    assert time.monotonic() - began > 1.8
    released.set()
    runner.fault_began_at = time.monotonic()
    assert runner.wait(10)


def assigned(offset: int, at_ms: int, **changes: object) -> StoredRecord:
    """A record ASSIGNED of partition 0, produced at a time."""
    value = {
        "kind": "ASSIGNED",
        "partition": 0,
        "offset": offset,
        "startFrom": None,
        "setVersion": "0" * 32,
        "decisions": "all",
        "instance": "w0",
        "version": version("processor"),
    }
    return StoredRecord("operations", 0, offset, at_ms, b"0", json.dumps(value | changes).encode(), ())


def start(offset: int, *, is_first: bool = False) -> Start:
    return Start(0, offset, is_first=is_first, instance_id="w0")


STARTS = [start(0, is_first=True), start(0), start(5), start(5), start(9)]
"""A first start, a restart before anything was mapped, one at 5, one that was killed there, one at the end."""

OUTPUT_TIMES = [OutputTime(0, 4, 20), OutputTime(0, 5, 30), OutputTime(0, 8, 31), OutputTime(1, 0, 1)]


@pytest.mark.parametrize(
    ("records", "findings"),
    [
        ([assigned(0, 10), assigned(0, 15), assigned(5, 25)], 0),
        ([assigned(0, 10), assigned(5, 20)], 0),  # the first start's own assignment has mapped the events
        ([assigned(5, 25)], 1),
        ([assigned(0, 10), assigned(0, 15)], 1),
        ([assigned(0, 10), assigned(0, 11), assigned(0, 12), assigned(5, 25)], 1),
        ([assigned(0, 10), assigned(5, 25), assigned(5, 26)], 1),
        ([assigned(0, 10), assigned(5, 25), assigned(9, 40)], 1),  # nothing was committed behind 9
        ([assigned(0, 10), assigned(5, 25), assigned(7, 31)], 1),  # of no assignment
        ([assigned(5, 25), assigned(0, 10)], 1),
        ([assigned(0, 10), assigned(5, 31)], 1),  # after outputs of its own assignment
        ([assigned(0, 10), assigned(5, 19)], 1),  # before an output of the one before
        ([assigned(0, 10), assigned(5, 25, decisions="off")], 1),
        ([assigned(0, 10), assigned(5, 25, partition=1)], 1),
        ([assigned(0, 10), assigned(5, 25, startFrom="end")], 1),
        ([assigned(0, 10), assigned(5, 25, instance="w1")], 1),
        ([assigned(0, 10), assigned(5, 25, more=1)], 1),
    ],
)
def test_records_of_assignments_are_checked(records: list[StoredRecord], findings: int) -> None:
    """A record that is missing, written twice, too late or too early, or with another field, is found."""
    found = list(assignment_findings(records, STARTS, OUTPUT_TIMES, {0: 9}, decisions="all"))

    assert findings == len(found), found
