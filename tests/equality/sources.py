"""What the rounds of one seed draw from: reader schemas of today and of later versions, templates, valid events."""

import json
import random
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from processor.domain.record import EventName
from processor.domain.template import Template, TemplateSet, template_set
from processor.registry.schema_files import load_schemas, shipped_schemas
from processor.templates.load import read_templates, require_usable
from processor.wire.reader_schemas import Schemas
from tests.fuzz.avro import FORMER
from tests.fuzz.corpus import valid_events
from tests.fuzz.templates import GENERATED, write_templates
from tests.support.builders import TENANT

Json = dict[str, Any]

TEMPLATES: Final = 300
LATER_VERSIONS: Final = 2

_WIDENED: Final[Mapping[str, Any]] = {"int": "long", '["null", "int"]': ["null", "long"]}


@dataclass(frozen=True, slots=True)
class Sources:
    """`schemas` begins with those that are shipped; `generated` has the generated templates by event."""

    schemas: tuple[Schemas, ...]
    shipped: TemplateSet
    generated: Mapping[EventName, tuple[Template, ...]]
    events: tuple[Json, ...]


def make_sources(seed: int) -> Sources:
    """The same seed gives the same. Takes some seconds."""
    with tempfile.TemporaryDirectory(prefix="equality-") as folder:
        write_templates(Path(folder, "templates"), count=TEMPLATES, seed=seed)
        templates = require_usable(read_templates(Path(folder, "templates"), tenant=TENANT, schemas=None))
        later = []
        for version in range(LATER_VERSIONS):
            directory = Path(folder, f"schemas-{version}")
            _write_later_schemas(directory, random.Random(f"schemas/{seed}/{version}"))
            later.append(load_schemas(directory))
    by_event: dict[EventName, list[Template]] = defaultdict(list)
    for template in templates.templates:
        if template.id.startswith(GENERATED):
            for event in template.events:
                by_event[event].append(template)
    return Sources(
        (load_schemas(), *later),
        template_set(template for template in templates.templates if not template.id.startswith(GENERATED)),
        {event: tuple(each) for event, each in by_event.items()},
        valid_events(),
    )


def _write_later_schemas(directory: Path, rng: random.Random) -> None:
    """The shipped schemas after what a reader may change: fields have new names and keep the old ones as aliases, whole
    numbers are wider, a symbol that is not known is read as the first one."""
    shutil.copytree(shipped_schemas(), directory)
    for path in sorted((directory / "events").glob("*.avsc")):
        schema = json.loads(path.read_text("utf-8"))
        for field in schema["fields"] if schema["type"] == "record" else ():
            _change_reader_field(field, rng)
        path.write_text(json.dumps(schema), "utf-8")


def _change_reader_field(field: Json, rng: random.Random) -> None:
    if rng.random() < 0.4:
        field["aliases"] = [f"{FORMER}{field['name']}"]
    field["type"] = _WIDENED.get(
        field["type"] if isinstance(field["type"], str) else json.dumps(field["type"]), field["type"]
    )
    if isinstance(field["type"], dict) and field["type"].get("type") == "enum" and field["name"] != "event":
        field["type"]["default"] = field["type"]["symbols"][0]
