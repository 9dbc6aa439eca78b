"""`processor schemas` against earlier versions and a real registry; and what `run` writes where one is set."""

import json
import shutil
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from processor.cli import schemas
from processor.domain.output_topics import FixedOutput
from processor.errors import DependencyError, UnavailableError, UsageError
from processor.registry.client import RegistryClient, open_session
from processor.registry.schema_files import load_schemas, shipped_schemas
from processor.registry.subjects import SchemaRegistry
from processor.settings import SchemaRegistrySettings, Settings
from processor.wire.compatibility import incompatibilities
from processor.wire.schema_parser import parse_schema
from tests.cli.commands import run_command
from tests.support.apicurio import register as put
from tests.support.events import repayment
from tests.support.http_server import LoopbackServer, json_response
from tests.support.installation import create_installation

Json = dict[str, Any]


def record(**fields: Any) -> Json:
    """A record's schema of these fields."""
    return {
        "type": "record",
        "name": "x.A",
        "fields": [{"name": name, "type": type_} for name, type_ in fields.items()],
    }


def default_record(name: str, type_: Any, default: Any, **more: Any) -> Json:
    """A record of one field with a default."""
    return {"type": "record", "name": "A", "fields": [{"name": name, "type": type_, "default": default, **more}]}


def nested_record(type_: str) -> Json:
    """A record within a record."""
    return {"type": "record", "name": "B", "fields": [{"name": "b", "type": type_}]}


ENUM = {"type": "enum", "name": "E", "symbols": ["A", "B"]}


@pytest.mark.parametrize(
    ("writer", "reader", "expected"),
    [
        (record(a="string"), record(a="string"), []),
        (record(a="string", b="int"), record(a="string"), []),
        (record(a="string"), record(a="string", b="int"), ["b: is new and has no default"]),
        (record(), default_record("a", "string", "x"), []),
        (record(a="int"), record(a="long"), []),
        (record(a="long"), record(a="int"), ["a: long cannot be read as int"]),
        (record(a="string"), record(a=["null", "string"]), []),
        (record(a=["null", "string"]), record(a="string"), ["a: null cannot be read as string"]),
        (record(a=["null", "int"]), record(a=["null", "string"]), ["a: int cannot be read as string"]),
        (record(a=nested_record("int")), record(a=nested_record("string")), ["a.b: int cannot be read as string"]),
        (
            record(a={"type": "array", "items": "int"}),
            record(a={"type": "array", "items": "string"}),
            ["a[]: int cann"],
        ),
        (record(a={"type": "map", "values": "int"}), record(a={"type": "map", "values": "string"}), ["a{}: int canno"]),
        (record(a=ENUM), record(a=ENUM | {"symbols": ["A"]}), ["a: B is not known"]),
        (record(a=ENUM), record(a=ENUM | {"symbols": ["A"], "default": "A"}), []),
        (record(a=ENUM), record(a=ENUM | {"name": "F"}), ["a: x.E cannot be read as x.F"]),
        (record(old="int"), default_record("new", "int", 0, aliases=["old"]), []),
        (
            record(old="string"),
            default_record("new", "int", 0, aliases=["old"]),
            ["old: string cannot be read as int"],
        ),
        (record(a="int", b="int"), record(a="string", b="string"), ["a: int cannot", "b: int cannot"]),
    ],
)
def test_every_incompatibility_is_listed(writer: Json, reader: Json, expected: list[str]) -> None:
    """Each place, whether a record would ever have it or not."""
    (_, old), (_, new) = parse_schema(json.dumps(writer)), parse_schema(json.dumps(reader))
    found = list(incompatibilities(old, new))

    assert expected == [line[: len(what)] for line, what in zip(found, expected, strict=True)]


def test_every_shipped_schema_reads_itself() -> None:
    """Nothing shipped is at odds with itself or with what was shipped before."""
    assert [] == [
        what for schema in load_schemas().families.values() for what in incompatibilities(schema.type, schema.type)
    ]
    assert 0 == run_command(schemas.command, Settings(), action=schemas.Action.CHECK, as_json=True)


def edit_schema_file(folder: Path, name: str, change: Callable[[Json], object]) -> None:
    """Change a schema file."""
    path = folder / name
    schema = json.loads(path.read_text())
    change(schema)
    path.write_text(json.dumps(schema))


def test_history(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A version that was published and can no longer be read is named with its place, in the JSON too."""
    folder = tmp_path / "schemas"
    shutil.copytree(shipped_schemas(), folder)
    before = load_schemas(folder).families["banking.events.ClientEvent"]
    (folder / "history").mkdir(exist_ok=True)
    (folder / "history" / f"{before.id}.avsc").write_text(before.text)
    ids = folder / "ids.json"
    ids.write_text(ids.read_text().replace(str(before.id), "2000000901"))
    assert 0 == run_command(schemas.command, Settings(schemas_dir=folder), action=schemas.Action.CHECK)
    assert "1, all readable" in capsys.readouterr().out

    edit_schema_file(folder, "events/banking.events.common.Branch.avsc", lambda it: it["fields"][0].update(type="int"))
    assert 1 == run_command(schemas.command, Settings(schemas_dir=folder), action=schemas.Action.CHECK)
    expected = f"history/{before.id}: branch.encodedKey: string cannot be read as int"
    assert f"banking.events.ClientEvent: {expected}" in capsys.readouterr().out.splitlines()

    assert 1 == run_command(schemas.command, Settings(schemas_dir=folder), action=schemas.Action.CHECK, as_json=True)
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["schemas"]}
    assert expected in checks["banking.events.ClientEvent"]["incompatibilities"]


@pytest.mark.kafka
def test_registering(
    registry_url: str, bootstrap_servers: str, topic_prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A dry run first; then all are registered, once; an incompatible version that somebody put there is found; and
    `run` writes Avro only under ids that consumers find in the registry."""
    registry_settings = SchemaRegistrySettings(url=registry_url)
    settings = Settings(schema_registry=registry_settings)
    assert 1 == run_command(schemas.command, settings, action=schemas.Action.REGISTER, yes=False)
    assert capsys.readouterr().out.endswith("19 to register; nothing was done, --yes does it\n")
    installation = create_installation(
        bootstrap_servers, topic_prefix, schema_registry=registry_settings, output={"format": "avro"}
    )
    with pytest.raises(UsageError, match=r"not registered in the schema registry: communications\.Communication"):
        installation.run()

    assert 0 == run_command(schemas.command, settings, action=schemas.Action.REGISTER, yes=True)
    assert 0 == run_command(schemas.command, settings, action=schemas.Action.REGISTER, yes=False)
    assert 0 == run_command(schemas.command, settings, action=schemas.Action.CHECK, as_json=True)
    installation.produce_events([repayment(0)])
    installation.run()
    ours = load_schemas().outputs["communications.Communicationmessage"]
    registered = SchemaRegistry(RegistryClient(registry_url, open_session(settings))).id_of(ours)
    (message, *_) = installation.read(installation.settings.topic(FixedOutput.MESSAGES))
    assert registered is not None
    assert b"\x00" + registered.to_bytes(4, "big") == (message.value() or b"")[:5]
    installation.produce_events([repayment(1)])
    installation.run()  # a new start reads the outputs that are there
    assert [2] == installation.committed()

    capsys.readouterr()
    put(registry_url, "communications.Decision", json.dumps(record(at="string") | {"name": "communications.Decision"}))
    assert 1 == run_command(schemas.command, settings, action=schemas.Action.CHECK)
    assert "communications.Decision: registry id " in capsys.readouterr().out
    assert 1 == run_command(schemas.command, settings, action=schemas.Action.REGISTER, yes=True, as_json=True)


def test_no_registry() -> None:
    """No registry to register with, and one that does not respond."""
    with pytest.raises(UsageError, match="no schema registry is set"):
        run_command(schemas.command, Settings(), action=schemas.Action.REGISTER, yes=True)
    nowhere = Settings(schema_registry=SchemaRegistrySettings(url="http://127.0.0.1:1"))
    with pytest.raises(DependencyError, match="the schema registry did not respond"):
        run_command(schemas.command, nowhere, action=schemas.Action.CHECK)


def test_tls_and_a_password(tmp_path: Path) -> None:
    """A registry behind TLS is believed when its certificate is vouched for, and gets the credentials."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with LoopbackServer(lambda _path: json_response([]), tls=context) as registry:
        registry_settings: Json = {"url": registry.url, "username": "ada", "password": "pw"}
        trusting = Settings(schema_registry=SchemaRegistrySettings(**registry_settings, ca_file=tmp_path / "ca.pem"))
        distrusting = Settings(schema_registry=SchemaRegistrySettings(**registry_settings))
        assert {} == SchemaRegistry(RegistryClient(registry.url, open_session(trusting))).versions("x")
        with pytest.raises(UnavailableError, match="SSLError"):
            SchemaRegistry(RegistryClient(registry.url, open_session(distrusting))).versions("x")

    assert ["Basic YWRhOnB3"] == registry.authorizations
