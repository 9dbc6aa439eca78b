"""`processor check`: schemas, templates, samples, settings; everything that is wrong at once, nothing connected.

The exit code is 1 when there is a finding, 0 when there is none or there are only warnings.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from processor.domain.record import EventName
from processor.errors import UsageError
from processor.registry.schema_files import load_schemas, shipped_schemas
from processor.settings import Settings
from processor.templates.load import Finding, LoadResult, load_templates
from processor.wire.schema import Schemas

FINDINGS: Final = 1


@dataclass(frozen=True, slots=True)
class Checked:
    """What was looked at and what was found. `schemas` is None when they cannot be used; then no sample was run."""

    settings: Settings
    schemas: Schemas | None
    loaded: LoadResult
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> int:
        """How many findings are more than a warning."""
        return sum(not finding.warning for finding in self.findings)

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
    findings: list[Finding] = []
    schemas = None
    try:
        schemas = load_schemas(settings.schemas_dir)
    except UsageError as error:
        findings.extend(_schema_findings(settings, error))
    if settings.tenant is None:
        findings.append(
            Finding(
                file="settings",
                line=None,
                rule="",
                what="PROCESSOR_TENANT is not set; `run` needs it",
                hint="name the bank, as in PROCESSOR_TENANT=northbank",
                warning=True,
            )
        )
    loaded = load_templates(settings, schemas)
    return Checked(settings, schemas, loaded, (*findings, *loaded.findings))


def _schema_findings(settings: Settings, error: UsageError) -> Iterator[Finding]:
    """One finding for each line that the error lists; the whole text when it lists none."""
    where = str(settings.schemas_dir or shipped_schemas())
    _, *lines = str(error).splitlines()
    listed = [line.strip() for line in lines if line.startswith("  ")]
    for what in listed or [str(error)]:
        yield Finding(file=where, line=None, rule="", what=what)


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
    for file, findings in groupby(checked.findings, key=lambda finding: finding.file):
        lines += ["", file, *(line for finding in findings for line in _lines_of(finding))]
    lines += ["", _verdict(checked)]
    return "\n".join(lines) + "\n"


def _lines_of(finding: Finding) -> Iterator[str]:
    margin = f"  {finding.line or '':>4}  {finding.rule:<4}"
    first, *more = finding.what.splitlines()
    yield f"{margin}{'warning: ' if finding.warning else ''}{first}"
    yield from (f"{'':<12}{line.strip()}" for line in more)
    if finding.hint:
        yield f"{'':<12}hint: {finding.hint}"


def _verdict(checked: Checked) -> str:
    warnings = len(checked.findings) - checked.errors
    if not checked.findings:
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
                "file": finding.file,
                "line": finding.line,
                "rule": finding.rule or None,
                "severity": "warning" if finding.warning else "error",
                "what": finding.what,
                "hint": finding.hint or None,
            }
            for finding in checked.findings
        ],
    }
