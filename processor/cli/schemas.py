"""`processor schemas`: whether the schemas can read all that was published before; registers them.

The exit code is 1 when something does not fit or is not registered, 0 when all is well.
"""

from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer

from processor.cli import output
from processor.cli.output import FINDINGS_EXIT_CODE, JsonOption, print_json
from processor.errors import UsageError
from processor.screen import Column, Listing, Screen

if TYPE_CHECKING:
    from processor.registry.schema_check import SchemaCheck
    from processor.settings import Settings

EXAMPLE: Final = "processor schemas register --yes"


class Action(StrEnum):
    """What is done with the schemas."""

    CHECK = "check"
    REGISTER = "register"


def command(
    action: Annotated[Action, typer.Argument(metavar="check|register", help="check reads only; register needs --yes.")],
    yes: Annotated[bool, typer.Option("--yes", help="Apply.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Compare schemas with their earlier versions, or register them.

    Earlier versions are those in history/ and, where one is set, in the registry. The exit code is 1 when a schema
    cannot read an earlier version, or is not registered.
    """
    if yes and action is not Action.REGISTER:
        raise UsageError("--yes is for register", hint="leave it out: check changes nothing")
    settings = output.load_quiet_settings()
    if action is Action.REGISTER:
        return _register(settings, yes=yes, as_json=as_json)
    return _check(settings, as_json=as_json)


def _check(settings: "Settings", *, as_json: bool) -> int:
    from processor.registry.schema_check import check_schemas

    checks = check_schemas(settings)
    with_registry = settings.schema_registry.url is not None
    _print(checks, with_registry=with_registry, as_json=as_json)
    unregistered = with_registry and any(check.registered is None for check in checks)
    return FINDINGS_EXIT_CODE if unregistered or any(check.incompatibilities for check in checks) else 0


def _register(settings: "Settings", *, yes: bool, as_json: bool) -> int:
    """Register what is not; a dry run without `yes`. Nothing is registered while any schema is incompatible."""
    from processor.registry.schema_check import check_schemas, register_schemas, required_registry

    required_registry(settings)
    checks = check_schemas(settings)
    missing = sum(check.registered is None for check in checks)
    if any(check.incompatibilities for check in checks):
        _print(checks, with_registry=True, as_json=as_json)
        return FINDINGS_EXIT_CODE
    if missing and yes:
        checks = register_schemas(settings, checks)
    _print(checks, with_registry=True, as_json=as_json)
    if missing and not yes and not as_json:
        Screen().line(f"{missing} to register; nothing was done, --yes does it")
    return FINDINGS_EXIT_CODE if missing and not yes else 0


def _print(checks: "list[SchemaCheck]", *, with_registry: bool, as_json: bool) -> None:
    if as_json:
        print_json({"schemas": [asdict(check) for check in checks]})
        return
    headings = ("schema", "id", "earlier versions", *(["in the registry"] if with_registry else []))
    listing, screen = Listing([Column(heading) for heading in headings]), Screen()
    for check in checks:
        readable = f"{check.earlier}, all readable" if check.earlier else "none"
        count = len(check.incompatibilities)
        earlier = f"{count} incompatibilities" if count else readable
        registered = [str(check.registered or "not registered")] if with_registry else []
        listing.add(check.name, str(check.id), earlier, *registered)
    screen.listing(listing)
    for check in checks:
        for incompatibility in check.incompatibilities:
            screen.line(f"{check.name}: {incompatibility}")
