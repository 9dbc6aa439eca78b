"""Identities that a replay gives again: BLAKE2b-128 digests (RFC 7693) of parts joined by U+001F.

Each is computed for each event and template, so they are written for speed; their plain formulas stand in the tests.
"""

from hashlib import blake2b
from typing import Final

from processor.domain.operation import OperationId
from processor.domain.record import EncodedKey, TemplateId

_EMPTY: Final = blake2b(digest_size=16)  # a copy of it is made in less time than another
# RFC 9562 section 4.1: the two highest bits of the seventeenth digit are the variant, 10.
_VARIANT_DIGITS: Final = {f"{digit:x}": f"{digit & 0x3 | 0x8:x}" for digit in range(16)}


def _digest(*parts: str) -> str:
    digest = _EMPTY.copy()
    digest.update("\x1f".join(parts).encode())
    return digest.hexdigest()


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
    digits = str(int(key, 16) % 10**16).zfill(16)
    return f"MSG-{digits[:4]}-{digits[4:8]}-{digits[8:12]}-{digits[12:]}"


def batch_id(tenant: str, event_id: str, template: TemplateId) -> str:
    """The id of all Messages that one event makes from one template."""
    return _label("MST", _digest(tenant, event_id, template))


def contact_id(tenant: str, recipient: str) -> str:
    """The id of a contact of whom only the encodedKey of client, group or user is known."""
    return _label("CTT", _digest(tenant, recipient))


def _label(kind: str, digest: str) -> str:
    """`kind` and the last 12 digits of a digest as a number, in groups of four."""
    digits = str(int(digest, 16) % 10**12).zfill(12)
    return f"{kind}-{digits[:4]}-{digits[4:8]}-{digits[8:]}"


def eid(key: EncodedKey) -> str:
    """A stream event's id: the 128 bits of the message's encodedKey with the bits of a version-8 uuid set (RFC 9562
    section 5.8: a layout of our own)."""
    return f"{key[:8]}-{key[8:12]}-8{key[13:16]}-{_VARIANT_DIGITS[key[16]]}{key[17:20]}-{key[20:]}"
