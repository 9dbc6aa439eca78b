"""What a schema cannot say of an event: which of its fields are set together. Pure.

Only what would make an event ambiguous is refused; a value that is merely missing is for the templates that show it.
"""

from collections.abc import Callable, Mapping
from typing import Final

from processor.domain.catalogue import Family, Holder
from processor.domain.event import Fields
from processor.domain.record import EventName
from processor.wire.errors import ContentError


def check_event(name: EventName, family: Family, fields: Fields) -> None:
    """Raise ContentError where the fields of an event contradict each other."""
    _check_holder(family.holder, fields)
    check = _FAMILY_CHECKS.get(family.name)
    if check is not None:
        check(name, fields)


def _check_holder(holder: Holder, fields: Fields) -> None:
    set_count = sum(fields[field] is not None for field in holder.fields)
    if set_count > 1:
        allowed = "at most one" if holder is Holder.AT_MOST_ONE else "exactly one"
        raise ContentError(f"client, group: {allowed} is the holder, both are set")
    if set_count == 0 and holder is Holder.CLIENT_OR_GROUP:
        raise ContentError("client, group: exactly one is the holder, none is set")


_BULK: Final = "CARDS_AUTHORISATION_HOLD_IN_BULK_CREATED"


def _check_holds(name: EventName, fields: Fields) -> None:
    """One hold, or in bulk a list of at least one; never both, so that each placeholder has one source."""
    hold, hold_count = fields["hold"] is not None, len(fields["holds"])
    actual = f"given {'hold' if hold else 'no hold'} and {hold_count} in holds"
    if name == _BULK and (hold or not hold_count):
        raise ContentError(f"hold, holds: {name} has a list of holds alone, {actual}")
    if name != _BULK and (hold_count or not hold):
        raise ContentError(f"hold, holds: {name} has one hold and no list, {actual}")


_SUBJECTS: Final[Mapping[str, tuple[str, str]]] = {  # event -> kind of its subject, and the field that has it
    "CLIENT_ACTIVITY": ("CLIENT", "client"),
    "GROUP_ACTIVITY": ("GROUP", "group"),
    "LOAN_ACCOUNT_ACTIVITY": ("LOAN", "account"),
    "SAVINGS_ACCOUNT_ACTIVITY": ("DEPOSIT", "account"),
}


def _check_subject(name: EventName, fields: Fields) -> None:
    """The subject is of the event's kind, and the field that has it is set to that very client, group or account."""
    kind, field = _SUBJECTS[name]
    subject, entity = fields["subject"], fields[field]
    if subject["kind"] != kind:
        raise ContentError(f"{name} is about a {kind}, not a {subject['kind']}").at("kind").at("subject")
    if entity is None:
        raise ContentError("is missing, and the subject is one").at(field)
    if entity["encodedKey"] != subject["encodedKey"]:
        raise ContentError(f"not that of {field}").at("encodedKey").at("subject")
    if field == "account" and entity["kind"] != kind:
        raise ContentError(f"{entity['kind']}, and the subject is a {kind}").at("kind").at(field)


_FAMILY_CHECKS: Final[Mapping[str, Callable[[EventName, Fields], None]]] = {
    "authorisation_hold": _check_holds,
    "activity": _check_subject,
}
