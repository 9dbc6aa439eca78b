"""A directory of template files, loaded: a set of templates, all or nothing, with everything that is wrong at once.

Each file goes through `parse_file.read_file`, `file_checks.CHECKS`, `compile.build_template` and `samples`. The
numbered rules are in `rules.RULES`; fields that are not supported yet are refused by name.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from processor.domain.diagnostic import Diagnostic, Location
from processor.domain.template import Template, TemplateSet, template_set
from processor.domain.text import nfc
from processor.errors import UsageError
from processor.files import is_visible
from processor.settings import Settings
from processor.templates.compile import TemplateParts, build_template
from processor.templates.diagnostics import error, short
from processor.templates.file_checks import CHECKS
from processor.templates.parse_file import ParsedFile, read_file
from processor.templates.policy import TemplatePolicy
from processor.templates.rules import RuleCode
from processor.templates.samples import SampleRun, SampleRunner
from processor.wire.reader_schemas import Schemas

# Keys of templates are derived from the tenant, and nothing that is checked depends on which one it is.
_ANY_TENANT: Final = "tenant"

SHIPPED: Final = Path(__file__).parent.parent / "shipped"


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What a directory holds. `templates` is None when a diagnostic is an error: all or nothing.

    `renderable` has the templates that can be rendered, also when others cannot; `files` is how many there are.
    """

    directory: Path
    templates: TemplateSet | None
    diagnostics: tuple[Diagnostic, ...]
    files: int
    samples: tuple[SampleRun, ...]
    renderable: tuple[Template, ...] = ()


def load_templates(settings: Settings, schemas: Schemas | None) -> LoadResult:
    """What the settings' directory holds. Without a tenant templates get keys that are nobody's."""
    return read_templates(
        settings.templates_dir,
        tenant=settings.tenant or _ANY_TENANT,
        schemas=schemas,
        time_zone=ZoneInfo(settings.time_zone),
        policy=TemplatePolicy(settings.webhook.allow_http, settings.channels.of, settings.sms.region),
    )


def require_usable(loaded: LoadResult) -> TemplateSet:
    """The set. Raises UsageError that lists every diagnostic that is an error; then nothing is loaded."""
    if loaded.templates is None:
        errors = [diagnostic for diagnostic in loaded.diagnostics if diagnostic.is_error]
        count = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
        raise UsageError(
            f"templates in {loaded.directory}: {count}, nothing loaded\n" + "\n".join(map(str, errors)),
            hint="`processor check` shows the same and connects to nothing",
        )
    return loaded.templates


def read_templates(
    directory: Path | None,
    *,
    tenant: str,
    schemas: Schemas | None,
    time_zone: tzinfo = UTC,
    policy: TemplatePolicy | None = None,
) -> LoadResult:
    """All `*.toml` in `directory` (None: the shipped ones), their samples, and what is wrong with them.

    Blocks on the disk, and raises nothing for what is there. Without `schemas` no sample can be read, so none is run.
    `policy` is the installation's own, None the usual one.
    """
    directory, policy = directory or SHIPPED, policy or TemplatePolicy()
    try:
        paths = template_paths(directory)
    except OSError as failure:
        return _nothing_there(directory, f"cannot be read: {failure.strerror}")
    if not paths:
        return _nothing_there(directory, "has no *.toml")
    runner = None if schemas is None else SampleRunner(schemas, time_zone, policy.sms_region)
    files = [_load_file(path, directory, tenant=tenant, policy=policy, runner=runner) for path in paths]
    diagnostics = [diagnostic for file in files for diagnostic in file.diagnostics]
    diagnostics = sorted((*diagnostics, *_check_unique(files)), key=_by_place)
    templates = tuple(file.template for file in files if file.template is not None)
    is_usable = all(diagnostic.is_warning for diagnostic in diagnostics)
    return LoadResult(
        directory,
        template_set(templates) if is_usable else None,
        tuple(diagnostics),
        len(paths),
        tuple(run for file in files for run in file.samples),
        templates,
    )


def template_paths(directory: Path) -> list[Path]:
    """The template files of `directory`, in order of their names. Raises OSError as `iterdir` does."""
    return sorted(path for path in directory.iterdir() if path.suffix == ".toml" and is_visible(path))


@dataclass(frozen=True, slots=True)
class _LoadedFile:
    """What one file comes to. `parsed` is None for what is no TOML, `template` for what has an error."""

    parsed: ParsedFile | None
    template: Template | None
    diagnostics: tuple[Diagnostic, ...]
    samples: Sequence[SampleRun] = ()


def _load_file(
    path: Path, directory: Path, *, tenant: str, policy: TemplatePolicy, runner: SampleRunner | None
) -> _LoadedFile:
    """Read, check, compile, and try the samples of what has no error."""
    parsed, diagnostics = read_file(path, directory)
    if parsed is None:
        return _LoadedFile(None, None, diagnostics)
    parts = TemplateParts(parsed, policy)
    found = [diagnostic for check in CHECKS for diagnostic in check(parts)]
    diagnostics = (*diagnostics, *map(parsed.locate, found))
    if any(diagnostic.is_error for diagnostic in diagnostics):
        return _LoadedFile(parsed, None, diagnostics)
    template = build_template(parts, tenant)
    if runner is None:
        return _LoadedFile(parsed, template, diagnostics)
    runs, found = runner.run(parsed, template)
    return _LoadedFile(parsed, template, (*diagnostics, *map(parsed.locate, found)), runs)


def _check_unique(files: Iterable[_LoadedFile]) -> Iterator[Diagnostic]:
    """T01 and T02 between files: names (compared without case), ids and keys. The first file that has one keeps it."""
    first_file: dict[tuple[str, str], str] = {}
    for loaded in files:
        if loaded.parsed is None:
            continue
        name = loaded.parsed.path.name
        for code, field, value, compared in _unique_values(loaded.parsed, loaded.template):
            first = first_file.setdefault((field, compared), name)
            if first != name:
                message = f"{field} {short(value)!r} is also that of {first}"
                yield loaded.parsed.locate(error(message, code=code, field=field))


def _unique_values(parsed: ParsedFile, template: Template | None) -> Iterator[tuple[RuleCode, str, str, str]]:
    """What no two files may share: rule, field, value, and as what values are compared."""
    file, key = parsed.file, template.key if template else parsed.file.key
    if file.id is not None:
        yield RuleCode.IDENTITY, "id", file.id, file.id
    if key is not None:
        yield RuleCode.IDENTITY, "key", key, key
    if file.name is not None:
        name = file.name.strip()
        yield RuleCode.NAME, "name", name, nfc(name).casefold()


def _by_place(diagnostic: Diagnostic) -> tuple[str, int, str, str]:
    location = diagnostic.location
    return location.file, location.line or 0, diagnostic.code, diagnostic.message


def _nothing_there(directory: Path, message: str) -> LoadResult:
    hint = "PROCESSOR_TEMPLATES_DIR names the directory; without it the shipped templates are used"
    diagnostic = Diagnostic(message=message, hint=hint, location=Location(file=str(directory)))
    return LoadResult(directory, None, (diagnostic,), 0, ())
