"""CHANNELS: a row for each channel, and rows that fit together."""

import pytest

from processor.domain.channel import CHANNELS, AddressKind, Channel, ChannelSpec


def test_every_channel_has_a_row_in_the_published_order() -> None:
    """A channel without a row would fail on the first template that uses it."""
    assert list(Channel) == list(CHANNELS)


@pytest.mark.parametrize("spec", CHANNELS.values(), ids=CHANNELS)
def test_only_channels_for_people_look_up_an_address(spec: ChannelSpec) -> None:
    """A recipient has a field with the address; without recipients it is rendered, or a topic."""
    rendered = spec.address in (AddressKind.URL, AddressKind.TOPIC)

    assert (bool(spec.recipients), spec.address_field is not None) == (not rendered, not rendered)


@pytest.mark.parametrize("spec", CHANNELS.values(), ids=CHANNELS)
def test_channels_between_people_have_a_recipient(spec: ChannelSpec) -> None:
    """A portal shows messages to people, and people send to people."""
    assert spec.recipients or not (spec.has_notification or spec.can_be_manual or spec.has_attachments)


@pytest.mark.parametrize("spec", CHANNELS.values(), ids=CHANNELS)
def test_a_missing_content_type_has_a_default_or_is_refused(spec: ChannelSpec) -> None:
    """A default is one of the words, where there are words; without a default there are words to choose from."""
    words = set(spec.content_types.values())

    assert spec.default_content in words if words and spec.default_content else words or spec.default_content
