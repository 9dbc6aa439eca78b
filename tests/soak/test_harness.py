"""The harness's own rules: keys by the domain's examples, frames by the protocol's layout, a load that repeats."""

import json
import struct
import time
from itertools import islice

import pytest
import requests

from processor.domain.event import Event
from processor.wire.schema import writer_schema
from tests.chaos import registry
from tests.chaos.expected import TEMPLATES, Dead, Good, Repeat, Sent, digest, eid_of, expected, good
from tests.chaos.load import make_event, mixed
from tests.chaos.proxy import Api, accepted, ends, read_request, refused
from tests.chaos.registry import (
    GOOD_ID,
    KEPT_ID,
    LATE_ID,
    LATE_REFUSED_ID,
    ODD_KINDS,
    REFUSED_ID,
    Registry,
    framed,
    odd_id,
)
from tests.chaos.repeats import repetitions
from tests.chaos.site import TEMPLATES_DIR
from tests.mapping.wire import make_record, told


def test_keys_of_the_domains_examples() -> None:
    """The digest rule gives the keys of the two messages that the domain reference shows."""
    email = digest(
        "northbank",
        "7f1d2c52-6a0e-4d0f-9b57-2f4f0c6a9e11",
        "loan-repayment-email",
        "8a8e867d5b1a4c0e015b1a5f3c0a0001",
    )

    assert email == "f7057037637ada1e806489eb4bfde71d"
    assert (
        digest("northbank", "c0a5a1de-53a1-4f43-8b1f-1c9f2f5b7a20", "savings-deposit-stream", "")
        == "e0d96d82587221510afb1c6032ce0ded"
    )


def test_eid_is_a_version_8_uuid() -> None:
    """An eid keeps the key's digits but for version 8 and the variant."""
    assert eid_of("f" * 32) == "ffffffff-ffff-8fff-bfff-ffffffffffff"
    assert eid_of("0" * 32) == "00000000-0000-8000-8000-000000000000"


def test_templates_are_those_of_the_folder() -> None:
    """The rules speak of each template of the folder, and of no other."""
    assert sorted(template.id for template in TEMPLATES) == sorted(path.stem for path in TEMPLATES_DIR.glob("*.toml"))


@pytest.mark.parametrize(
    ("event", "created", "skipped", "failed"),
    [
        (make_event(), 4, 0, 0),
        (make_event(strict=False), 3, 0, 1),
        (make_event(group=True), 1, 3, 0),
        (make_event("SAVINGS_DEPOSIT"), 2, 0, 0),
        (make_event("CLIENT_CREATED"), 0, 1, 0),
    ],
)
def test_what_an_event_must_become(event: dict[str, object], created: int, skipped: int, failed: int) -> None:
    """A birth for each template that holds, a reason for each that does not, an entry for each that fails."""
    must = expected([Sent(good(event), 0, 7, 1_000)])

    assert created == len(must.created)
    assert skipped == sum(len(reasons) for _, reasons in must.decisions.values())
    assert failed == sum(len(entries) for _, _, entries in must.dead.values())


def test_the_load_repeats() -> None:
    """The same seed gives the same load, another gives another; good events and repeats are both in it."""
    first, again, other = ([*islice(mixed(seed=seed), 500)] for seed in (3, 3, 4))
    told = [one.fate.event["eventId"] for one in first if isinstance(one.fate, Good)]

    assert first == again
    assert first != other
    assert len(set(told)) < len(told)
    assert not any(isinstance(one.fate, Repeat) for one in first)


@pytest.mark.parametrize(("version", "commits"), [(1, True), (1, False), (3, True), (4, False)])
def test_end_txn_is_read(version: int, commits: bool) -> None:
    """Whether an EndTxn commits is read from plain and from flexible frames."""
    client, name = b"processor", b"group:slot:0"
    head = struct.pack(">hhih", Api.END_TXN, version, 77, len(client)) + client
    identity = struct.pack(">qh", 12, 3)
    if version >= 3:
        frame = head + b"\x00" + bytes([len(name) + 1]) + name + identity + bytes([commits]) + b"\x00"
    else:
        frame = head + struct.pack(">h", len(name)) + name + identity + bytes([commits])
    request = read_request(frame)

    assert (Api.END_TXN, version, 77, commits) == (request.api, request.version, request.correlation, request.commits)


def test_answers_are_read() -> None:
    """Only partitions without an error are accepted; an EndTxn that is refused does not end the transaction."""
    taken = struct.pack(">ihqqqi", 2, 0, 500, -1, 0, 0) + struct.pack(">h", -1)
    failed = struct.pack(">ihqqqi", 3, 47, -1, -1, 0, 0) + struct.pack(">h", -1)
    produced = struct.pack(">iih", 9, 1, 1) + b"t" + struct.pack(">i", 2) + taken + failed + struct.pack(">i", 0)

    assert [("t", 2, 500)] == list(accepted(produced, 8))
    assert [] == list(accepted(refused(produced, 8), 8))
    assert ends(struct.pack(">iih", 9, 0, 0), 1)
    assert not ends(struct.pack(">iih", 9, 0, 51), 1)


def responded(url: str, schema_id: int) -> object:
    """The registry's response for an id: whether it is a schema, else its status or what went wrong."""
    try:
        response = requests.get(f"{url}/schemas/ids/{schema_id}", timeout=0.5)
        if response.status_code != 200:
            return response.status_code
        answer = response.json()
    except (ValueError, OSError) as error:
        return type(error).__name__
    return bool(writer_schema(answer["schema"]).type) and not answer.get("references")


def test_ids_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry of the harness has the schema of an id, has it not, or responds oddly, as its number says."""
    monkeypatch.setattr(registry, "ODD_S", 0.8)
    with Registry() as served:
        assert [True, True, 404, 403] == [responded(served.url, n) for n in (GOOD_ID, GOOD_ID + 3, 3, REFUSED_ID)]
        assert [404, True, 403] == [responded(served.url, n) for n in (LATE_ID, KEPT_ID, LATE_REFUSED_ID)]
        served.register(LATE_ID)
        served.register(LATE_REFUSED_ID)
        served.delete(KEPT_ID)
        assert [True, 404, True] == [responded(served.url, n) for n in (LATE_ID, KEPT_ID, LATE_REFUSED_ID)]

        odd = {kind: responded(served.url, odd_id(kind, 2)) for kind in ODD_KINDS}
        assert [403, 429, 500, "JSONDecodeError", False, "ConnectionError", "ReadTimeout"] == list(odd.values())
        time.sleep(0.8)
        assert {True} == {responded(served.url, odd_id(kind, 2)) for kind in ODD_KINDS}
    with Registry(calm=True) as calm:
        assert {True} == {
            responded(calm.url, n) for n in (REFUSED_ID, LATE_ID, *(odd_id(kind, 4) for kind in ODD_KINDS))
        }
        assert {*ODD_KINDS, registry.REFUSED_KIND} == set(served.odd)


@pytest.mark.parametrize("name", registry.WRITTEN)
@pytest.mark.parametrize("group", [False, True])
def test_both_producers_say_the_same(name: str, group: bool) -> None:
    """An event in the foreign producer's Avro is the event that it is in JSON, but for the place of its record."""
    event = make_event(name, account=7, number=12, group=group)
    record, plain = framed(event, GOOD_ID), good(event)
    (schema_id, text) = int.from_bytes((record.value or b"")[1:5], "big"), registry._SCHEMAS[name == "SAVINGS_DEPOSIT"]
    written = told(make_record(record.value, key=record.key), writers={schema_id: writer_schema(json.dumps(text))})
    said = told(make_record(plain.value, plain.headers, key=plain.key))

    assert isinstance(said, Event)
    assert said == written


def test_the_load_has_odd_schemas() -> None:
    """With a registry: half in Avro, with some schema ids of each kind; it repeats."""
    avro, again = ([*islice(mixed(seed=5, avro=True), count)] for count in (20_000, 2_000))
    framed_ids = {
        int.from_bytes((record.value or b"")[1:5], "big")
        for record in avro
        if not record.headers and isinstance(record.fate, Good)
    }
    met = {number // 1_000_000 for number in framed_ids}
    refused_ones = [record for record in avro if record.fate == Dead("UNKNOWN_SCHEMA")]

    assert again == avro[:2_000]
    assert {0, *range(1, len(ODD_KINDS) + 1)} == met
    assert len(refused_ones) > 1


def test_repetitions_share_nothing() -> None:
    """Each has an account of its own, and its first record has the key and the event of its repetition."""
    waves = [repetition for number in (1, 2) for repetition in repetitions(first_account=9, number=number).values()]
    events = {record.fate.event["eventId"] for wave in waves for record in wave.after if isinstance(record.fate, Good)}

    assert len(waves) == len(events)
    assert {wave.key for wave in waves} == {record.key for wave in waves for record in wave.after}
