"""hamba/avro's generator takes `schemas/`; what it makes compiles, and reads what we write. Runs where Go is."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any, Final

import pytest

from processor.registry.schema_files import shipped_schemas
from processor.shipped import samples
from tests.generators.values import events, outputs, printed, without_nulls
from tests.support.wire import golden_json

MODULE: Final = Path(__file__).parent / "go"


def run_go(module: Path, *arguments: object) -> str:
    """What `go` prints in the folder of the consumer."""
    environment = {**os.environ, "GOFLAGS": "-mod=readonly", "GOWORK": "off"}
    return printed(["go", *arguments], timeout_s=280, cwd=module, env=environment)


def as_go_writes(value: Any) -> Any:
    """JSON whose times have no noughts at their end."""
    match value:
        case dict():
            return {name: as_go_writes(part) for name, part in value.items()}
        case list():
            return [as_go_writes(part) for part in value]
        case str():
            return re.sub(r"^(\d{4}-\d\d-\d\dT[\d:]{8}\.\d*?)0+Z$", r"\1Z", value)
        case _:
            return value


@pytest.mark.go
@pytest.mark.process
@pytest.mark.timeout(900)  # the first time, Go fetches and builds its generator
def test_generated_types_read_what_we_write(tmp_path: Path) -> None:
    """The events in the order of `order.txt`: all golden outputs, field by field, and every event."""
    module = Path(shutil.copytree(MODULE, tmp_path / "consumer"))
    shipped = shipped_schemas()
    ordered = [shipped / "events" / name for name in (shipped / "events" / "order.txt").read_text("utf-8").split()]
    for package, files in (("messages", sorted((shipped / "messages").glob("*.avsc"))), ("events", ordered)):
        (module / package).mkdir()
        options = ("-pkg", package, "-encoders", "-fullschema", "-tags", "json:original")
        run_go(module, "tool", "avrogen", *options, "-o", module / package / "made.go", *files)
    values = outputs() | events()
    arguments: list[str | Path] = []
    for name, (kind, value) in values.items():
        (tmp_path / name).write_bytes(value)
        arguments += [kind, tmp_path / name]
    run_go(module, "vet", "./...")
    read = dict(zip(values, map(json.loads, run_go(module, "run", ".", *arguments).splitlines()), strict=True))

    assert {name: as_go_writes(golden_json(name)) for name in outputs()} == {
        name: without_nulls(read[name]) for name in outputs()
    }
    assert [sample["eventId"] for sample in samples()] == [read[sample["event"]]["eventId"] for sample in samples()]
