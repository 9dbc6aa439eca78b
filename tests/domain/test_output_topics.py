"""OUTPUTS: a row for each output, and what else is made of a row."""

from dataclasses import fields
from typing import get_args

import pytest

from processor.domain.output_topics import FIXED_OUTPUTS, OUTPUTS, FixedOutput, OutputTopics, OutputValue, Partitioning
from processor.settings import FIXED_TOPICS, TopicSettings


def test_every_output_has_a_topic_a_setting_and_a_row() -> None:
    """The fields of OutputTopics and the settings are written out for the type checker; none is left out."""
    names = {field.name for field in fields(OutputTopics)} - {"streams"}

    assert set(FIXED_OUTPUTS) == set(FixedOutput) == names == set(FIXED_TOPICS) & set(OUTPUTS)
    assert set(OUTPUTS) <= set(TopicSettings.model_fields)


def test_every_value_that_has_a_schema_has_one_row() -> None:
    """Otherwise the encoder would have nothing for it, or would choose between two."""
    values = [spec.value for spec in OUTPUTS.values() if spec.schema is not None]

    assert len(values) == len(set(values))
    assert set(get_args(OutputValue)) == set(values)


@pytest.mark.parametrize("output", OUTPUTS)
def test_proofs_are_co_partitioned(output: FixedOutput) -> None:
    """What became of the events of a partition, and from where on it was mapped, is read from that partition alone."""
    spec = OUTPUTS[output]

    assert not spec.is_proof or spec.partitioning is Partitioning.AS_EVENTS
