"""Whether everything that one schema can write can be read with another. Pure.

Stricter than reading, which fails only for what a record really holds.
"""

from collections.abc import Iterator

from processor.wire.avro_reader import describe_type, map_field_names, resolve, short_name
from processor.wire.errors import ContentError
from processor.wire.schema import NO_DEFAULT, Array, Enum, Map, Record, Recursive, Type, Union, is_null


def incompatibilities(writer: Type, reader: Type, path: str = "") -> Iterator[str]:
    """Each place, as `account.id: why`, where a value of `writer` could not become one of `reader`; none: all can."""
    match writer, reader:
        case Recursive(), _:
            yield from incompatibilities(writer.definition, reader, path)
        case Union(), _:
            for branch in writer.branches:
                yield from incompatibilities(branch, reader, path)
        case _, Union():
            yield from _with_union(writer, reader, path)
        case Record(), Record() if short_name(writer.name) == short_name(reader.name):
            yield from _of_fields(writer, reader, path)
        case Array(), Array():
            yield from incompatibilities(writer.items, reader.items, f"{path}[]")
        case Map(), Map():
            yield from incompatibilities(writer.values, reader.values, f"{path}{{}}")
        case Enum(), Enum() if short_name(writer.name) == short_name(reader.name):
            for symbol in writer.symbols:
                if symbol not in reader.symbols and reader.default is None:
                    yield _at(path, f"{symbol} is not known")
        case _:
            yield from _of_leaves(writer, reader, path)


def _with_union(writer: Type, reader: Union, path: str) -> Iterator[str]:
    """None where one branch can take all values; the one branch that is not null says why it cannot."""
    by_branch = [(branch, list(incompatibilities(writer, branch, path))) for branch in reader.branches]
    if any(not errors for _, errors in by_branch):
        return
    of_values = [errors for branch, errors in by_branch if not is_null(branch)]
    yield of_values[0][0] if len(of_values) == 1 else _at(path, f"{describe_type(writer)} is not among the types")


def _of_fields(writer: Record, reader: Record, path: str) -> Iterator[str]:
    names = map_field_names(writer, reader)
    missing = {field.name: field for field in reader.fields}
    for field in writer.fields:
        if field.name in names:
            target = missing.pop(names[field.name])
            yield from incompatibilities(field.type, target.type, f"{path}.{field.name}".lstrip("."))
    for field in missing.values():
        if field.default is NO_DEFAULT:
            yield _at(f"{path}.{field.name}".lstrip("."), "is new and has no default")


def _of_leaves(writer: Type, reader: Type, path: str) -> Iterator[str]:
    try:
        resolve(writer, reader, {})
    except ContentError as error:
        yield _at(path, error.detail)


def _at(path: str, what: str) -> str:
    return f"{path}: {what}" if path else what
