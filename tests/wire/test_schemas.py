"""Our schema files: complete, self-contained, in step with the model; and every error of broken ones at once."""

import csv
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from fastavro import parse_schema

from processor.domain.catalogue import EVENTS, FAMILIES
from processor.domain.channel import Channel
from processor.domain.message import Communicationmessage, MessageStatus, State
from processor.domain.reasons import FailureReason
from processor.domain.record import SchemaGuid, SchemaId
from processor.errors import UsageError
from processor.registry import schema_files
from processor.registry.schema_files import load_schemas, shipped_schemas
from processor.wire.reader_schemas import OUTPUT_SCHEMAS
from processor.wire.schema import Enum, Record, Scalar, Type, Union
from tests.support.wire import DOMAIN, SCHEMAS

# Fixed for ever: records written with these ids are on disks that we do not see. Only ever add.
IDS = {
    2_000_000_001: "communications.Communicationmessage",
    2_000_000_002: "communications.MessageStatus",
    2_000_000_003: "communications.StreamEvent",
    2_000_000_004: "communications.Decision",
    2_000_000_005: "notifications.Message",
    2_000_000_006: "communications.Decision",  # with reasonsLeftOut
    2_000_000_101: "banking.events.ClientEvent",
    2_000_000_102: "banking.events.GroupEvent",
    2_000_000_103: "banking.events.LoanAccountEvent",
    2_000_000_104: "banking.events.LoanTransactionEvent",
    2_000_000_105: "banking.events.DepositAccountEvent",
    2_000_000_106: "banking.events.DepositTransactionEvent",
    2_000_000_107: "banking.events.CreditArrangementEvent",
    2_000_000_108: "banking.events.AuthorisationHoldEvent",
    2_000_000_109: "banking.events.CardTransactionEvent",
    2_000_000_110: "banking.events.ActivityEvent",
    2_000_000_111: "banking.events.PortalEvent",
    2_000_000_112: "banking.events.OrderEvent",
    2_000_000_113: "banking.events.JournalEntryEvent",
    2_000_000_114: "banking.events.BackgroundEvent",
}


def test_every_schema_has_its_id_for_ever() -> None:
    """Each id that was ever given finds a version of its schema, current or in `history/`, and the ids of the current
    ones are among them."""
    current = {schema.id: name for name, schema in {**SCHEMAS.families, **SCHEMAS.outputs}.items()}

    assert IDS == {number: SCHEMAS.local_schema(SchemaId(number)).name for number in IDS}
    assert IDS == IDS | current


@pytest.mark.parametrize("unknown", [SchemaId(7), SchemaId(2_100_000_000), SchemaGuid(b"g" * 16)])
def test_other_ids_belong_to_a_registry(unknown: SchemaId | SchemaGuid) -> None:
    """KeyError: not an id of `ids.json`."""
    with pytest.raises(KeyError):
        SCHEMAS.local_schema(unknown)


def test_each_event_finds_its_family() -> None:
    """All events of the catalogue, each in the schema whose enum names it."""
    assert {event: FAMILIES[row.family].record for event, row in EVENTS.items()} == {
        event: schema.name for event, schema in SCHEMAS.by_event.items()
    }


@pytest.mark.parametrize("name", [*SCHEMAS.families, *OUTPUT_SCHEMAS])
def test_the_text_of_a_schema_is_self_contained(name: str) -> None:
    """As a registry takes it: no name in it is defined elsewhere."""
    text = (SCHEMAS.families.get(name) or SCHEMAS.outputs[name]).text

    assert name == parse_schema(json.loads(text))["name"]  # type: ignore[index,call-overload]


def defined_names(schema: Any, namespace: str = "") -> Iterator[str]:
    """The full names that a schema defines, in the order of its text."""
    match schema:
        case list():
            for branch in schema:
                yield from defined_names(branch, namespace)
        case dict():
            if schema["type"] in ("record", "enum", "fixed"):
                namespace = schema.get("namespace", namespace)
                yield f"{namespace}.{schema['name']}"
            for part in (schema["type"], schema.get("items"), schema.get("values")):
                yield from defined_names(part, namespace)
            for field in schema.get("fields", ()):
                yield from defined_names(field["type"], namespace)


def test_no_name_is_defined_twice() -> None:
    """Over events and outputs: generators of code that read a folder refuse a second definition, or write over the
    first. Each version of `history/` defines its names again."""
    files = [path for folder in ("events", "messages") for path in sorted((shipped_schemas() / folder).glob("*.avsc"))]
    names = [name for path in files for name in defined_names(json.loads(path.read_text("utf-8")))]

    assert [] == [name for name, count in Counter(names).items() if count > 1]
    assert {"communications.Place", "banking.events.common.Account", "banking.events.common.AccountKind"} <= set(names)


def test_files_of_events_can_be_read_in_their_order() -> None:
    """`order.txt` has each file once, after those that it names; fastavro knows a name only when it was defined."""
    folder = shipped_schemas() / "events"
    ordered = (folder / "order.txt").read_text("utf-8").split()
    parsed_schemas: dict[str, Any] = {}
    for name in ordered:
        parse_schema(json.loads((folder / name).read_text("utf-8")), parsed_schemas)

    assert sorted(path.name for path in folder.glob("*.avsc")) == sorted(ordered)


def test_each_file_of_messages_is_self_contained() -> None:
    """A consumer of one topic needs one file."""
    for path in (shipped_schemas() / "messages").glob("*.avsc"):
        assert parse_schema(json.loads(path.read_text("utf-8")))


def field_types(name: str) -> dict[str, Type]:
    return {field.name: field.type for field in SCHEMAS.outputs[name].type.fields}


def test_a_communicationmessage_has_the_21_published_fields() -> None:
    """In the published order, each nullable, null by default."""
    record = SCHEMAS.outputs["communications.Communicationmessage"].type

    assert 21 == len(record.fields)
    assert [field.name for field in fields(Communicationmessage)] == [field.name for field in record.fields]
    assert all(field.default is None for field in record.fields)
    assert all(isinstance(field.type, Union) and field.type.nullable for field in record.fields)
    kinds = {field.name: field.type.nullable for field in record.fields if isinstance(field.type, Union)}
    scalars = {name: kind.kind for name, kind in kinds.items() if isinstance(kind, Scalar)}
    assert {"creationDate": "timestamp-millis", "sendDate": "timestamp-millis", "numRetries": "int"} == {
        name: kind for name, kind in scalars.items() if kind != "string"
    }
    assert {"state", "type", "failureReason"} == kinds.keys() - scalars.keys()


def test_a_status_has_the_fields_of_the_model() -> None:
    """In the order of the published list; `from` is a word of Python, so the model has `from_`."""
    assert sorted(field.name.rstrip("_") for field in fields(MessageStatus)) == sorted(
        field_types("communications.MessageStatus")
    )


def symbols(type_: Type) -> tuple[str, ...]:
    inner = type_.nullable if isinstance(type_, Union) else type_
    assert isinstance(inner, Enum)
    return inner.symbols


@pytest.mark.parametrize("name", ["communications.Communicationmessage", "communications.MessageStatus"])
def test_enums_are_those_of_the_domain(name: str) -> None:
    """Same names, same order, none more; a failure that a reader does not know is OTHER."""
    types = field_types(name)
    with (DOMAIN / "failure-reasons.csv").open(encoding="utf-8") as lines:
        published = tuple(row["reason"] for row in csv.DictReader(lines))
    reason = types["failureReason"]
    assert isinstance(reason, Union)
    assert isinstance(reason.nullable, Enum)

    assert published == tuple(FailureReason) == symbols(reason)
    assert "OTHER" == reason.nullable.default
    assert tuple(Channel) == symbols(types["type"])
    assert tuple(State) == symbols(types["state" if "state" in types else "to"])


# ---------------------------------------------------------------------------------------------------------------------
# Files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the schemas to break."""
    return Path(shutil.copytree(shipped_schemas(), tmp_path / "schemas"))


def errors(folder: Path) -> str:
    with pytest.raises(UsageError) as caught:
        load_schemas(folder)
    return str(caught.value)


def edit(path: Path, change: Callable[[Any], object]) -> None:
    value = json.loads(path.read_text("utf-8"))
    change(value)
    path.write_text(json.dumps(value), "utf-8")


CLIENT = "events/banking.events.ClientEvent.avsc"
MESSAGE = "messages/Communicationmessage.avsc"


def type_of(schema: Any, name: str) -> Any:
    return next(field for field in schema["fields"] if field["name"] == name)


@pytest.mark.parametrize(
    ("file", "change", "error"),
    [
        (CLIENT, lambda schema: schema.update(name="Client2Event"), "the file defines banking.events.Client2Event"),
        (CLIENT, lambda schema: schema["fields"].pop(), "end with customFields"),
        (CLIENT, lambda schema: schema["fields"].reverse(), "its fields begin with eventId, event"),
        (CLIENT, lambda schema: type_of(schema, "event")["type"]["symbols"].append("CLIENT_MOVED"), "CLIENT_MOVED"),
        (CLIENT, lambda schema: type_of(schema, "event")["type"]["symbols"].reverse(), "catalogue: their order"),
        (CLIENT, lambda schema: type_of(schema, "comment").update(type="double", default=1.0), "double is not"),
        (CLIENT, lambda schema: type_of(schema, "comment").update(type="bytes", default=""), "comment: bytes is not"),
        (CLIENT, lambda schema: type_of(schema, "comment").update(type=["null", "int", "string"]), "a union is null"),
        (CLIENT, lambda schema: type_of(schema, "client").update(type="Nobody"), "Nobody"),
        (CLIENT, lambda schema: type_of(schema, "client").update(default=5), "banking.events.ClientEvent: "),
        ("events/banking.events.common.User.avsc", lambda schema: schema.update(type="array"), "ClientEvent: KeyError"),
        (
            "events/banking.events.common.User.avsc",
            lambda schema: schema["fields"].append({"name": "boss", "type": ["null", "User"], "default": None}),
            "banking.events.common.User contains itself",
        ),
        (MESSAGE, lambda schema: schema["fields"].pop(), "not the 21 published ones"),
        ("ids.json", lambda ids: ids.pop("communications.Decision"), "no id for communications.Decision"),
        ("ids.json", lambda ids: ids.update({"communications.Decision": 5}), "a whole number from 2000000000"),
        ("ids.json", lambda ids: ids.update({"communications.Decision": True}), "a whole number from 2000000000"),
        ("ids.json", lambda ids: ids.update({"communications.Decision": 2_000_000_001}), "is another schema's"),
        ("ids.json", lambda ids: ids.update({"a.B": 2_000_000_900}), "a.B has an id and no schema"),
    ],
)  # fmt: skip
def test_a_broken_schema_is_found(folder: Path, file: str, change: Callable[[Any], object], error: str) -> None:
    """Before anything is read with it, and with a word on what is wrong."""
    edit(folder / file, change)

    assert error in errors(folder)


def test_all_errors_are_listed_at_once(folder: Path) -> None:
    """Files that are gone, not JSON, not UTF-8 and wrong: each is listed, none hides another."""
    (folder / CLIENT).write_text("{", "utf-8")
    (folder / MESSAGE).unlink()
    edit(folder / "ids.json", lambda ids: ids.pop("communications.Decision"))
    listed = errors(folder)

    assert "banking.events.ClientEvent: not JSON" in listed
    assert "there is no communications.Communicationmessage.avsc" in listed
    assert "no id for communications.Decision" in listed
    (folder / "ids.json").write_bytes(b"\xff")
    shutil.rmtree(folder / "events")
    listed = errors(folder)
    assert "ids.json cannot be read" in listed
    assert "events is not a directory" in listed
    assert "hint: " in listed


@pytest.mark.parametrize(("text", "error"), [("[]", "not an object"), ("", "not JSON")])
def test_ids_are_an_object(folder: Path, text: str, error: str) -> None:
    """Name -> id, nothing else."""
    (folder / "ids.json").write_text(text, "utf-8")

    assert error in errors(folder)


def test_an_earlier_version_stays_readable(folder: Path) -> None:
    """A schema that has changed has a new id; records of the old one are still found by theirs."""
    earlier = SCHEMAS.families["banking.events.ClientEvent"]
    (folder / "history" / f"{earlier.id}.avsc").parent.mkdir(exist_ok=True)
    (folder / "history" / f"{earlier.id}.avsc").write_text(earlier.text, "utf-8")
    edit(folder / "ids.json", lambda ids: ids.update({"banking.events.ClientEvent": 2_000_000_901}))
    loaded = load_schemas(folder)

    assert 2_000_000_901 == loaded.families["banking.events.ClientEvent"].id
    assert earlier.text == loaded.local_schema(earlier.id).text


@pytest.mark.parametrize(
    ("name", "text", "error"),
    [
        ("first", '"string"', "a file is named by its id"),
        ("2000000001", None, "is the id of a current schema"),
        ("2000000999", '"string"', "not a record"),
    ],
)
def test_a_broken_history_is_found(folder: Path, name: str, text: str | None, error: str) -> None:
    """A version that cannot be found by its id, or not be read."""
    (folder / "history").mkdir(exist_ok=True)
    own = SCHEMAS.outputs["communications.Decision"].text
    (folder / "history" / f"{name}.avsc").write_text(own if text is None else text, "utf-8")

    assert error in errors(folder)


def test_schemas_are_found_in_a_checkout_and_in_a_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel carries them inside the package; a checkout has them beside it."""
    assert Path(schema_files.__file__).parents[2] / "schemas" == shipped_schemas()
    monkeypatch.setattr(schema_files, "_PACKAGE", tmp_path / "processor")
    shutil.copytree(Path(schema_files.__file__).parents[2] / "schemas", tmp_path / "processor" / "schemas")

    assert tmp_path / "processor" / "schemas" == shipped_schemas()
    assert SCHEMAS.families.keys() == load_schemas().families.keys()


def test_no_family_has_a_float() -> None:
    """Amounts, rates and all other numbers are exact."""

    def kinds(type_: Type) -> set[str]:
        match type_:
            case Record():
                return set().union(*(kinds(field.type) for field in type_.fields))
            case Union():
                return set().union(*(kinds(branch) for branch in type_.branches))
            case Scalar():
                return {type_.kind}
            case _:
                return set()

    for schema in SCHEMAS.families.values():
        assert not kinds(schema.type) & {"float", "double"}
