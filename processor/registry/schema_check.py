"""`processor schemas`: whether ours can read all that was published before, and putting them into a registry.

The exit code is 1 when something does not fit or is not registered, 0 when all is well.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

from rich.console import Console
from rich.table import Table
from rich.text import Text

from processor.errors import DependencyError, UnavailableError, UsageError
from processor.registry.schema_files import load_schemas
from processor.registry.subjects import Subjects, subjects
from processor.settings import Settings
from processor.wire.compatibility import misfits
from processor.wire.schema import ReaderSchema, Schemas, writer_schema

FINDINGS = 1


@dataclass(frozen=True, slots=True)
class Row:
    """One schema of ours. `earlier`: how many versions it was held against; `registered`: its id in the registry, None
    when it has none or there is no registry. `findings`: what earlier versions can write and this one cannot read."""

    name: str
    id: int
    earlier: int
    registered: int | None
    findings: tuple[str, ...]


def check(settings: Settings, *, json_output: bool) -> int:
    """Hold every schema against each earlier version, of `history/` and of the registry if one is set; print it.

    Raises DependencyError when the registry does not answer.
    """
    rows = _rows(settings)
    with_registry = settings.schema_registry.url is not None
    _print(rows, with_registry=with_registry, json_output=json_output)
    unregistered = with_registry and any(row.registered is None for row in rows)
    return FINDINGS if unregistered or any(row.findings for row in rows) else 0


def register(settings: Settings, *, yes: bool, json_output: bool) -> int:
    """Register what is not; without `yes` say what that would be. Nothing is registered while anything does not fit."""
    registry = subjects(settings)
    if registry is None:
        raise UsageError("no schema registry is set", hint="set PROCESSOR_SCHEMA_REGISTRY__URL")
    rows = _rows(settings)
    if any(row.findings for row in rows):
        _print(rows, with_registry=True, json_output=json_output)
        return FINDINGS
    missing = [row for row in rows if row.registered is None]
    if missing and yes:
        schemas = _all(load_schemas(settings.schemas_dir))
        with _answered():
            made = {row.name: registry.register(schemas[row.name]) for row in missing}
        rows = [replace(row, registered=made.get(row.name, row.registered)) for row in rows]
    _print(rows, with_registry=True, json_output=json_output)
    if missing and not yes and not json_output:
        sys.stdout.write(f"{len(missing)} to register; nothing was done, --yes does it\n")
    return FINDINGS if missing and not yes else 0


def _rows(settings: Settings) -> list[Row]:
    schemas = load_schemas(settings.schemas_dir)
    registry = subjects(settings)
    with _answered():
        return [_row(schema, schemas, registry) for schema in _all(schemas).values()]


def _all(schemas: Schemas) -> dict[str, ReaderSchema]:
    """Families first, in the order of the catalogue, then outputs."""
    return {**schemas.families, **schemas.outputs}


def _row(schema: ReaderSchema, schemas: Schemas, registry: Subjects | None) -> Row:
    earlier = {
        f"history/{key}": one for key, one in schemas.local.items() if one.name == schema.name and key != schema.id
    }
    registered = None
    if registry is not None:
        registered = registry.id_of(schema)
        texts = registry.versions(schema.name)
        earlier |= {f"registry id {key}": writer_schema(text) for key, text in texts.items() if key != registered}
    findings = [
        f"{where}: {what}"
        for where, writer in earlier.items()
        for what in ([writer.problem] if writer.type is None else misfits(writer.type, schema.type))
    ]
    return Row(schema.name, schema.id, len(earlier), registered, tuple(findings))


@contextmanager
def _answered() -> Iterator[None]:
    try:
        yield
    except UnavailableError as error:
        raise DependencyError(str(error), hint="check PROCESSOR_SCHEMA_REGISTRY__URL") from error


# ------------------------------------------------------------------------------------------------------------ printed


def _print(rows: list[Row], *, with_registry: bool, json_output: bool) -> None:
    if json_output:
        sys.stdout.write(json.dumps({"schemas": [asdict(row) for row in rows]}) + "\n")
        return
    table = Table()
    for name in ("schema", "id", "earlier versions", *(["in the registry"] if with_registry else [])):
        table.add_column(name, overflow="fold")
    for row in rows:
        fits = f"{row.earlier}, all readable" if row.earlier else "none"
        told = [row.name, str(row.id), f"{len(row.findings)} findings" if row.findings else fits]
        table.add_row(*told, *([str(row.registered or "not registered")] if with_registry else []))
    screen = Console()
    screen.print(table)
    for row in rows:
        for finding in row.findings:
            screen.print(Text(f"{row.name}: {finding}"), soft_wrap=True)
