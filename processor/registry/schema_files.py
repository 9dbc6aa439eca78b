"""Our schemas from their files: those shipped, or a directory like `schemas/`. The only place that reads them."""

from collections.abc import Iterator
from pathlib import Path

from processor.errors import UsageError
from processor.files import UnfitError, file_text, is_visible
from processor.wire.reader_schemas import Schemas, build_schemas

_PACKAGE = Path(__file__).parent.parent
_OUTPUTS = "communications"  # namespace of outputs whose file is named without one


def shipped_schemas() -> Path:
    """Inside the package when it was installed from a wheel, at the top of the checkout otherwise."""
    inside = _PACKAGE / "schemas"
    return inside if inside.is_dir() else _PACKAGE.parent / "schemas"


def load_schemas(directory: Path | None = None) -> Schemas:
    """The schemas of `directory`: `events/*.avsc`, `messages/*.avsc`, `ids.json`, `history/<id>.avsc`. None: shipped.

    UsageError lists all errors at once. Reads files, so it blocks; called once at start.
    """
    root = directory if directory is not None else shipped_schemas()
    errors: list[str] = []
    texts = dict(_texts(root / "events", "", errors)) | dict(_texts(root / "messages", _OUTPUTS, errors))
    history = dict(_texts(root / "history", "", errors)) if (root / "history").is_dir() else {}
    ids = _text(root / "ids.json", errors)
    schemas, more = build_schemas(texts, ids, history) if not errors else (None, ())
    if schemas is None:
        listed = "\n".join(f"  {error}" for error in (*errors, *more))
        raise UsageError(
            f"the schemas in {root} cannot be used:\n{listed}", hint="PROCESSOR_SCHEMAS_DIR names another directory"
        )
    return schemas


def _texts(directory: Path, namespace: str, errors: list[str]) -> Iterator[tuple[str, str]]:
    """Full name -> text. A file is named by the full name, or by its end alone when it is in `namespace`."""
    if not directory.is_dir():
        errors.append(f"{directory} is not a directory")
        return
    for path in sorted(filter(is_visible, directory.glob("*.avsc"))):
        name = path.name.removesuffix(".avsc")
        yield name if "." in name or not namespace else f"{namespace}.{name}", _text(path, errors)


def _text(path: Path, errors: list[str]) -> str:
    try:
        return file_text(path)
    except UnfitError as unfit:
        errors.append(f"{path} {unfit}")
    except (OSError, UnicodeDecodeError) as error:
        errors.append(f"{path} cannot be read: {error}")
    return ""
