"""Compares the schemas with every earlier version, in `history/` and the registry, and registers them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from processor.errors import DependencyError, UnavailableError, UsageError
from processor.registry.schema_files import load_schemas
from processor.registry.subjects import SchemaRegistry, open_registry
from processor.settings import Settings
from processor.wire.compatibility import incompatibilities
from processor.wire.reader_schemas import ReaderSchema, Schemas
from processor.wire.schema_parser import parse_writer_schema


@dataclass(frozen=True, slots=True)
class SchemaCheck:
    """One schema. `earlier`: the number of versions that it was compared with; `registered`: its id in the
    registry, None when it has none or there is no registry. `incompatibilities`: what earlier versions can write and
    this one cannot read."""

    name: str
    id: int
    earlier: int
    registered: int | None
    incompatibilities: tuple[str, ...]


def check_schemas(settings: Settings) -> list[SchemaCheck]:
    """Compare each schema with every earlier version, of `history/` and of the registry if one is set.

    Blocks on the disk and the network. Raises DependencyError when the registry does not respond.
    """
    schemas = load_schemas(settings.schemas_dir)
    registry = open_registry(settings)
    with _translate_unavailable():
        return [_check(schema, schemas, registry) for schema in _all(schemas).values()]


def register_schemas(settings: Settings, checks: list[SchemaCheck]) -> list[SchemaCheck]:
    """Register those of `checks` that are not; gives all of them, with their ids. Raises as `check_schemas`."""
    registry = required_registry(settings)
    schemas = _all(load_schemas(settings.schemas_dir))
    with _translate_unavailable():
        return [
            check if check.registered is not None else replace(check, registered=registry.register(schemas[check.name]))
            for check in checks
        ]


def required_registry(settings: Settings) -> SchemaRegistry:
    """The registry that is set. UsageError where none is."""
    registry = open_registry(settings)
    if registry is None:
        raise UsageError("no schema registry is set", hint="set PROCESSOR_SCHEMA_REGISTRY__URL")
    return registry


def _all(schemas: Schemas) -> dict[str, ReaderSchema]:
    """Families first, in the order of the catalogue, then outputs."""
    return {**schemas.families, **schemas.outputs}


def _check(schema: ReaderSchema, schemas: Schemas, registry: SchemaRegistry | None) -> SchemaCheck:
    earlier = {
        f"history/{key}": writer
        for key, writer in schemas.local.items()
        if writer.name == schema.name and key != schema.id
    }
    registered = None
    if registry is not None:
        registered = registry.id_of(schema)
        texts = registry.versions(schema.name)
        earlier |= {f"registry id {key}": parse_writer_schema(text) for key, text in texts.items() if key != registered}
    found = [
        f"{where}: {what}"
        for where, writer in earlier.items()
        for what in ([writer.error] if writer.type is None else incompatibilities(writer.type, schema.type))
    ]
    return SchemaCheck(schema.name, schema.id, len(earlier), registered, tuple(found))


@contextmanager
def _translate_unavailable() -> Iterator[None]:
    try:
        yield
    except UnavailableError as error:
        raise DependencyError(str(error), hint="check PROCESSOR_SCHEMA_REGISTRY__URL") from error
