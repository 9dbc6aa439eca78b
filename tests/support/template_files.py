"""Template files for tests: a valid one, changed here and there, loaded from a directory."""

import json
from pathlib import Path
from typing import Any

from processor.domain.diagnostic import Diagnostic
from processor.templates.load import LoadResult, read_templates
from tests.support.builders import TENANT, schemas, templates_directory

EMAIL_FIELDS: dict[str, Any] = {
    "id": "note",
    "version": 1,
    "name": "Note",
    "type": "EMAIL",
    "event": "LOAN_REPAYMENT",
    "target": "LOANS",
    "recipient": "CLIENT",
    "subject": "About {ACCOUNT_ID}",
    "subscription": "OPT_OUT",
    "body": "<p>{ACCOUNT_NAME}</p>",
}
STREAM: dict[str, Any] = {"type": "EVENT_STREAM", "content_type": "application/json", "body": '"{ACCOUNT_ID}"'}
SMS: dict[str, Any] = {"type": "SMS"}


def toml(rest: str = "", *, without: tuple[str, ...] = (), **changes: Any) -> str:
    """A valid template file with other fields, without some, and with more text after them."""
    channel = changes.get("type", "EMAIL")
    omitted = {"EVENT_STREAM": ("recipient", "subject"), "SMS": ("subject",)}.get(channel, ())
    fields = {key: value for key, value in EMAIL_FIELDS.items() if key not in omitted} | changes
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in fields.items() if key not in without]
    return "\n".join([*lines, rest]) + "\n"


def manual(rest: str = "", **changes: Any) -> str:
    """A valid template file for what a person sends."""
    text = {"event": "MANUAL", "subject": "Hello", "body": "<p>{RECIPIENT_NAME}</p>", "trigger": "MANUAL"}
    if "type" in changes:
        del text["subject"]
    return toml(rest, **(text | changes))


def attachment(**changes: Any) -> str:
    """A valid [[attachment]] of a template file, with other fields."""
    fields = {
        "id": "ATT-1150-0093-2201",
        "name": "Terms",
        "content_type": "application/pdf",
        "file_size": 20_480,
        "file_name": "terms.pdf",
        "href": "/terms.pdf",
    } | changes
    return "[[attachment]]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in fields.items())


def condition(text: str) -> str:
    """A [[condition]] of a template file."""
    return f"[[condition]]\n{text}\n"


def load_files(tmp_path: Path, **files: str) -> LoadResult:
    """Load a directory of these files."""
    return read_templates(templates_directory(tmp_path, **files), tenant=TENANT, schemas=schemas())


def diagnostics(tmp_path: Path, text: str) -> list[Diagnostic]:
    """Of one file called note.toml, without that of the missing sample."""
    return [
        diagnostic for diagnostic in load_files(tmp_path, note=text).diagnostics if diagnostic.message != "no sample"
    ]
