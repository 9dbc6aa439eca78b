"""Values that are made by the thousand behave as frozen dataclasses do, but for the check at run time."""

from dataclasses import field, replace

import pytest

from processor.domain.value_class import value_class


@value_class()
class Place:
    """One with all that a class may have: a default, and a field of its own making, which does not count."""

    topic: str
    offset: int = 0
    text: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.text = f"{self.topic}@{self.offset}"  # type: ignore[misc]


@value_class(kw_only=True)
class Named:
    """One whose fields are named."""

    name: str


def test_values_are_equal_and_hashed_by_their_fields() -> None:
    """So they are keys of dicts, and shown by them."""
    assert Place("a", 1) == Place("a", 1) != Place("a", 2)
    assert {Place("a", 1): "there"}[Place("a", 1)] == "there"
    assert "Place(topic='a', offset=1)" == repr(Place("a", 1))


def test_a_replaced_value_is_another() -> None:
    """With what follows from its fields made again; the first is as it was."""
    first = Place("a", 1)
    second = replace(first, offset=2)

    assert (Place("a", 2), "a@2") == (second, second.text)
    assert (Place("a", 1), "a@1") == (first, first.text)
    match second:
        case Place(topic, offset):
            assert ("a", 2) == (topic, offset)


def test_a_value_has_no_further_attributes() -> None:
    """A misspelt one is an error at run time too; named fields have to be named."""
    with pytest.raises(AttributeError):
        Place("a").offest = 2  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        Named("x")  # type: ignore[call-arg]
    assert "x" == Named(name="x").name


def test_mypy_refuses_to_change_a_value() -> None:
    """Were it to allow this, the comment would ignore nothing, and `make lint` fail. At run time it is not checked."""
    place = Place("a")
    place.offset = 1  # type: ignore[misc]
    assert 1 == place.offset
