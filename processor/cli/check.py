"""`processor check`: schemas, templates, samples, settings; everything that is wrong at once, nothing connected.

The exit code is 1 when there is a finding, 0 when there is none or there are only warnings.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from processor.domain.diagnostic import Diagnostic, Location, Severity
from processor.domain.record import EventName
from processor.errors import UsageError
from processor.registry.schema_files import load_schemas, shipped_schemas
from processor.settings import Settings
from processor.templates.load import LoadResult, load_templates
from processor.wire.schema import Schemas

FINDINGS: Final = 1


@dataclass(frozen=True, slots=True)
class Checked:
    """What was looked at and what was found. `schemas` is None when they cannot be used; then no sample was run."""

    settings: Settings
    schemas: Schemas | None
    loaded: LoadResult
    diagnostics: tuple[Diagnostic, ...]

    @property
    def errors(self) -> int:
        """How many findings are more than a warning."""
        return sum(diagnostic.is_error for diagnostic in self.diagnostics)

    @property
    def streams(self) -> tuple[EventName, ...]:
        """The events whose stream topic `run` needs; empty when the templates are not whole."""
        return () if self.loaded.templates is None else tuple(sorted(self.loaded.templates.stream_events()))


def check(settings: Settings, *, json_output: bool) -> int:
    """Look at everything that `run` would read before it connects, print what was found, give the exit code.

    The settings themselves are valid when they get here: what is wrong with them `load_settings` has said, all at once.
    """
    checked = look(settings)
    sys.stdout.write(json.dumps(_as_json(checked)) + "\n" if json_output else _as_text(checked))
    return FINDINGS if checked.errors else 0


def look(settings: Settings) -> Checked:
    """`check` without printing. Blocks on the disk."""
    diagnostics: list[Diagnostic] = []
    schemas = None
    try:
        schemas = load_schemas(settings.schemas_dir)
    except UsageError as error:
        diagnostics.extend(_schema_diagnostics(settings, error))
    if settings.tenant is None:
        diagnostics.append(
            Diagnostic(
                message="PROCESSOR_TENANT is not set; `run` needs it",
                severity=Severity.WARNING,
                hint="name the bank, as in PROCESSOR_TENANT=northbank",
                location=Location(file="settings"),
            )
        )
    loaded = load_templates(settings, schemas)
    return Checked(settings, schemas, loaded, (*diagnostics, *loaded.diagnostics))


def _schema_diagnostics(settings: Settings, error: UsageError) -> Iterator[Diagnostic]:
    """One for each line that the error lists; the whole text when it lists none."""
    where = str(settings.schemas_dir or shipped_schemas())
    _, *lines = str(error).splitlines()
    listed = [line.strip() for line in lines if line.startswith("  ")]
    for message in listed or [str(error)]:
        yield Diagnostic(message=message, location=Location(file=where))


# ------------------------------------------------------------------------------------------------------------ printed


def _as_text(checked: Checked) -> str:
    loaded, schemas = checked.loaded, checked.schemas
    rows = [
        ("settings", f"valid; tenant {checked.settings.tenant or 'not set'}, time zone {checked.settings.time_zone}")
    ]
    if schemas is None:
        rows.append(("schemas", "cannot be used, so no sample was run"))
    else:
        counts = f"{len(schemas.families)} families, {len(schemas.by_event)} events, {len(schemas.outputs)} outputs"
        rows.append(("schemas", counts))
    if loaded.templates is None:
        rows.append(("templates", f"{_count(loaded.files, 'file')} in {loaded.directory}, not usable as a set"))
    else:
        active = sum(template.active for template in loaded.templates.templates)
        of_them = "" if active == loaded.files else f", {active} active"
        rows.append(("templates", f"{loaded.files}{of_them}; set version {loaded.templates.digest}"))
    failed = sum(not run.passed for run in loaded.samples)
    told = f"{failed} not as expected" if failed else "all as expected"
    rows.append(("samples", f"{len(loaded.samples)}, {told}" if loaded.samples else "none was run"))
    if checked.streams:
        rows.append(("streams", ", ".join(checked.streams)))
    lines = [f"{name:<10} {text}" for name, text in rows]
    for file, diagnostics in groupby(checked.diagnostics, key=lambda diagnostic: diagnostic.location.file):
        lines += ["", file, *(line for diagnostic in diagnostics for line in _lines_of(diagnostic))]
    lines += ["", _verdict(checked)]
    return "\n".join(lines) + "\n"


def _lines_of(diagnostic: Diagnostic) -> Iterator[str]:
    margin = f"  {diagnostic.location.line or '':>4}  {diagnostic.code:<4}"
    first, *more = diagnostic.message.splitlines()
    yield f"{margin}{'warning: ' if diagnostic.is_warning else ''}{first}"
    yield from (f"{'':<12}{line.strip()}" for line in more)
    if diagnostic.hint:
        yield f"{'':<12}hint: {diagnostic.hint}"


def _verdict(checked: Checked) -> str:
    warnings = len(checked.diagnostics) - checked.errors
    if not checked.diagnostics:
        return "no findings"
    parts = [_count(checked.errors, "finding")] if checked.errors else ["no findings"]
    parts += [_count(warnings, "warning")] if warnings else []
    return ", ".join(parts) + ("; nothing would be loaded" if checked.errors else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _as_json(checked: Checked) -> dict[str, Any]:
    loaded, schemas = checked.loaded, checked.schemas
    return {
        "ok": not checked.errors,
        "tenant": checked.settings.tenant,
        "schemas": None
        if schemas is None
        else {
            "families": len(schemas.families),
            "events": len(schemas.by_event),
            "outputs": len(schemas.outputs),
        },
        "templates": {
            "directory": str(loaded.directory),
            "files": loaded.files,
            "setVersion": None if loaded.templates is None else loaded.templates.digest,
            "streams": list(checked.streams),
        },
        "samples": [{"template": run.template, "name": run.name, "passed": run.passed} for run in loaded.samples],
        "findings": [
            {
                "file": diagnostic.location.file,
                "line": diagnostic.location.line,
                "rule": diagnostic.code or None,
                "severity": diagnostic.severity,
                "what": diagnostic.message,
                "hint": diagnostic.hint or None,
            }
            for diagnostic in checked.diagnostics
        ],
    }
