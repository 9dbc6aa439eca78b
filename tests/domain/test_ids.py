"""Identities against their plain formulas, written down here once more."""

from hashlib import blake2b
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from processor.domain.ids import batch_id, contact_id, eid, encoded_key, notification_id, template_key
from processor.domain.operation import OperationId
from processor.domain.record import EncodedKey, TemplateId

NUMBERS = st.integers(0, 2**128 - 1)
PARTS = st.text(max_size=40)


def digest(*parts: str) -> bytes:
    """What all identities begin with."""
    return blake2b("\x1f".join(parts).encode(), digest_size=16).digest()


def label(kind: str, number: int, digits: int) -> str:
    """The last digits of a number, in groups of four."""
    text = str(number % 10**digits).zfill(digits)
    return "-".join((kind, *(text[at : at + 4] for at in range(0, digits, 4))))


@given(number=NUMBERS)
def test_eid_is_the_key_as_a_uuid_of_version_8(number: int) -> None:
    """The bits of version and variant replaced, all others kept."""
    kept = number & ~(0xF << 76 | 0x3 << 62)
    identity = eid(EncodedKey(f"{number:032x}"))

    assert str(UUID(int=kept | 0x8 << 76 | 0x2 << 62)) == identity
    assert 8 == UUID(identity).version


@given(number=NUMBERS | st.integers(0, 10**17))
def test_a_notification_is_named_by_the_end_of_its_key(number: int) -> None:
    """The key as a number, its last 16 decimal digits, zeros kept."""
    assert label("MSG", number, 16) == notification_id(EncodedKey(f"{number:032x}"))


@given(tenant=PARTS, event=PARTS, template=PARTS, recipient=PARTS, operation=PARTS)
def test_ids_are_digests_of_their_parts(tenant: str, event: str, template: str, recipient: str, operation: str) -> None:
    """Of these parts in this order, any texts; a reissue's key is of one part more."""
    template_id, reissue = TemplateId(template), OperationId(operation)

    assert digest(tenant, event, template, recipient).hex() == encoded_key(
        tenant, event, template_id, recipient=recipient
    )
    assert digest(tenant, event, template, recipient, operation).hex() == encoded_key(
        tenant, event, template_id, recipient=recipient, reissue=reissue
    )
    assert digest("template", tenant, template).hex() == template_key(tenant, template_id)
    assert label("MST", int.from_bytes(digest(tenant, event, template)), 12) == batch_id(tenant, event, template_id)
    assert label("CTT", int.from_bytes(digest(tenant, recipient)), 12) == contact_id(tenant, recipient)
