"""`processor check`: settings, schemas, templates, samples; everything that is wrong at once, nothing connected.

The exit code is 1 when there is an error, 0 when there is none or there are only warnings.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from processor.cli import output
from processor.cli.output import FINDINGS_EXIT_CODE, JsonOption, print_json
from processor.domain.diagnostic import Diagnostic, Location, Severity
from processor.errors import UsageError
from processor.screen import Screen

if TYPE_CHECKING:
    from processor.domain.record import EventName
    from processor.settings import Settings
    from processor.templates.load import LoadResult
    from processor.wire.reader_schemas import Schemas

_MARGIN: Final = 12  # of texts: before them stand a line's number and a rule's code

EXAMPLE: Final = "PROCESSOR_TEMPLATES_DIR=templates processor check"


def command(as_json: JsonOption = False) -> int:
    """Validate settings, schemas, templates and their samples.

    Everything that is wrong is shown at once, and no connection is opened. The exit code is 1 when there is an error.
    """
    result = check(output.load_quiet_settings())
    if as_json:
        print_json(_as_json(result))
    else:
        Screen().line("\n".join(_lines(result)), hang=_MARGIN)
    return FINDINGS_EXIT_CODE if result.errors else 0


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What was checked, and what is wrong with it. `schemas` is None when they cannot be used; no sample was run then.

    The settings are valid: `load_settings` has reported what is wrong with them, all at once.
    """

    settings: "Settings"
    schemas: "Schemas | None"
    loaded: "LoadResult"
    diagnostics: tuple[Diagnostic, ...]

    @property
    def errors(self) -> int:
        """The number of diagnostics that are more than a warning."""
        return sum(diagnostic.is_error for diagnostic in self.diagnostics)

    @property
    def streams(self) -> "tuple[EventName, ...]":
        """The events whose stream topic `run` needs; empty when the templates cannot be used."""
        return () if self.loaded.templates is None else tuple(sorted(self.loaded.templates.stream_events()))


def check(settings: "Settings") -> CheckResult:
    """Check all that `run` would read before it connects. Blocks on the disk."""
    from processor.registry.schema_files import load_schemas
    from processor.templates.load import load_templates

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
    return CheckResult(settings, schemas, loaded, (*diagnostics, *loaded.diagnostics))


def _schema_diagnostics(settings: "Settings", error: UsageError) -> Iterator[Diagnostic]:
    """One for each line that the error lists; the whole text when it lists none."""
    from processor.registry.schema_files import shipped_schemas

    location = Location(file=str(settings.schemas_dir or shipped_schemas()))
    _, *lines = str(error).splitlines()
    listed = [line.strip() for line in lines if line.startswith("  ")]
    for message in listed or [str(error)]:
        yield Diagnostic(message=message, location=location)


def _lines(result: CheckResult) -> Iterator[str]:
    for name, text in _summary(result):
        yield f"{name:<10} {text}"
    for file, diagnostics in groupby(result.diagnostics, key=lambda diagnostic: diagnostic.location.file):
        yield ""
        yield file
        for diagnostic in diagnostics:
            yield from _diagnostic_lines(diagnostic)
    yield ""
    yield _verdict(result)


def _summary(result: CheckResult) -> Iterator[tuple[str, str]]:
    """Name and text of each thing that was checked."""
    loaded, schemas = result.loaded, result.schemas
    yield "settings", f"valid; tenant {result.settings.tenant or 'not set'}, time zone {result.settings.time_zone}"
    if schemas is None:
        yield "schemas", "cannot be used, so no sample was run"
    else:
        counts = f"{len(schemas.families)} families, {len(schemas.by_event)} events, {len(schemas.outputs)} outputs"
        yield "schemas", counts
    if loaded.templates is None:
        yield "templates", f"{_count(loaded.files, 'file')} in {loaded.directory}, not usable as a set"
    else:
        active = sum(template.active for template in loaded.templates.templates)
        of_them = "" if active == loaded.files else f", {active} active"
        yield "templates", f"{loaded.files}{of_them}; set version {loaded.templates.digest}"
    failed = sum(not run.passed for run in loaded.samples)
    outcome = f"{failed} not as expected" if failed else "all as expected"
    yield "samples", f"{len(loaded.samples)}, {outcome}" if loaded.samples else "none was run"
    if result.streams:
        yield "streams", ", ".join(result.streams)


def _diagnostic_lines(diagnostic: Diagnostic) -> Iterator[str]:
    margin = f"  {diagnostic.location.line or '':>4}  {diagnostic.code:<4}"
    first, *more = diagnostic.message.splitlines()
    yield f"{margin}{'warning: ' if diagnostic.is_warning else ''}{first}"
    yield from (f"{'':<{_MARGIN}}{line.strip()}" for line in more)
    if diagnostic.hint:
        yield f"{'':<{_MARGIN}}hint: {diagnostic.hint}"


def _verdict(result: CheckResult) -> str:
    warnings = len(result.diagnostics) - result.errors
    if not result.diagnostics:
        return "no errors"
    parts = [_count(result.errors, "error")] if result.errors else ["no errors"]
    parts += [_count(warnings, "warning")] if warnings else []
    return ", ".join(parts) + ("; nothing would be loaded" if result.errors else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _as_json(result: CheckResult) -> dict[str, Any]:
    loaded, schemas = result.loaded, result.schemas
    return {
        "ok": not result.errors,
        "tenant": result.settings.tenant,
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
            "streams": list(result.streams),
        },
        "samples": [{"template": run.template, "name": run.name, "passed": run.passed} for run in loaded.samples],
        "diagnostics": [
            {
                "file": diagnostic.location.file,
                "line": diagnostic.location.line,
                "rule": diagnostic.code or None,
                "severity": diagnostic.severity,
                "what": diagnostic.message,
                "hint": diagnostic.hint or None,
            }
            for diagnostic in result.diagnostics
        ],
    }
