"""Whether everything that one schema can write can be read with another. Pure; stricter than reading, which only minds
what a record really holds."""

from collections.abc import Iterator

from processor.wire.avro_reader import map_field_names, resolve, short_name, type_word
from processor.wire.scalars import ContentError
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
            told = [list(incompatibilities(writer, branch, path)) for branch in reader.branches]
            if [] not in told:
                others = [one for one, branch in zip(told, reader.branches, strict=True) if not is_null(branch)]
                yield others[0][0] if len(others) == 1 else _at(path, f"{type_word(writer)} is not among the types")
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


def _of_fields(writer: Record, reader: Record, path: str) -> Iterator[str]:
    ours = map_field_names(writer, reader)
    wanted = {one.name: one for one in reader.fields}
    for one in writer.fields:
        if one.name in ours:
            yield from incompatibilities(one.type, wanted.pop(ours[one.name]).type, f"{path}.{one.name}".lstrip("."))
    for left in wanted.values():
        if left.default is NO_DEFAULT:
            yield _at(f"{path}.{left.name}".lstrip("."), "is new and has no default")


def _of_leaves(writer: Type, reader: Type, path: str) -> Iterator[str]:
    try:
        resolve(writer, reader, {})
    except ContentError as error:
        yield _at(path, error.detail)


def _at(path: str, what: str) -> str:
    return f"{path}: {what}" if path else what
