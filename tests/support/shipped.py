"""The shipped schemas and templates, built once for a test process instead of once for each start of an engine.

They are immutable, and the same for equal files and options. Processes that tests start build their own.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from processor.registry import schema_files
from processor.templates import load
from processor.wire import reader_schemas


@contextmanager
def built_once() -> Iterator[None]:
    """Within the block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema_files, "build_schemas", _once_for_equal_texts(reader_schemas.build_schemas))
        patch.setattr(load, "read_templates", _once_for_shipped_files(load.read_templates))
        yield


def _once_for_equal_texts(build_schemas: Callable[..., Any]) -> Callable[..., Any]:
    built: dict[object, Any] = {}

    def build(texts: dict[str, str], ids_text: str, history: dict[str, str]) -> Any:
        key = (*texts.items(), ids_text, *history.items())
        if key not in built:
            built[key] = build_schemas(texts, ids_text, history)
        return built[key]

    return build


def _once_for_shipped_files(read_templates: Callable[..., Any]) -> Callable[..., Any]:
    built: dict[object, tuple[object, Any]] = {}  # with the schemas, so that no others get their identity

    def read(directory: Path | None, **options: Any) -> Any:
        if directory is not None:
            return read_templates(directory, **options)
        schemas = options.pop("schemas")
        key = (load.SHIPPED, id(schemas), *options.items())
        if key not in built:
            built[key] = (schemas, read_templates(directory, schemas=schemas, **options))
        return built[key][1]

    return read
