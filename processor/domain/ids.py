"""Identities that a replay gives again: BLAKE2b-128 digests (RFC 7693) of parts joined by U+001F."""

from hashlib import blake2b
from uuid import UUID

from processor.domain.operation import OperationId
from processor.domain.record import EncodedKey, TemplateId

_VERSION_8 = 0x8 << 76  # RFC 9562 section 5.8: a layout of our own
_VARIANT = 0x2 << 62
_FREE_BITS = ~((0xF << 76) | (0x3 << 62))


def _digest(*parts: str) -> str:
    return blake2b("\x1f".join(parts).encode(), digest_size=16).hexdigest()


def encoded_key(
    tenant: str, event_id: str, template: TemplateId, *, recipient: str, reissue: OperationId | None = None
) -> EncodedKey:
    """The same key on every replay and redrive, also after the template was edited or the recipient's address changed.

    `recipient` is the encodedKey of the addressed client, group or user, never an address; empty for WEB_HOOK and
    EVENT_STREAM. `reissue`: the operation that makes new messages, each with a key of its own beside the one that
    exists.
    """
    parts = (tenant, event_id, template, recipient)
    return EncodedKey(_digest(*parts) if reissue is None else _digest(*parts, reissue))


def template_key(tenant: str, template: TemplateId) -> str:
    """The templateKey of a template whose file names no `key` of its own."""
    return _digest("template", tenant, template)


def notification_id(key: EncodedKey) -> str:
    """A Message's id, for people: the encodedKey as a number, its last 16 digits. Two may share one."""
    return _label("MSG", int(key, 16), digits=16)


def batch_id(tenant: str, event_id: str, template: TemplateId) -> str:
    """The id of all Messages that one event makes from one template."""
    return _label("MST", int(_digest(tenant, event_id, template), 16), digits=12)


def contact_id(tenant: str, recipient: str) -> str:
    """The id of a contact of whom only the encodedKey of client, group or user is known."""
    return _label("CTT", int(_digest(tenant, recipient), 16), digits=12)


def _label(kind: str, number: int, *, digits: int) -> str:
    """`kind` and the last digits of `number`, in groups of four."""
    text = f"{number % 10**digits:0{digits}}"
    return "-".join((kind, *(text[at : at + 4] for at in range(0, digits, 4))))


def eid(key: EncodedKey) -> str:
    """A stream event's id: the 128 bits of the message's encodedKey with the bits of a version-8 uuid set."""
    return str(UUID(int=int(key, 16) & _FREE_BITS | _VERSION_8 | _VARIANT))
