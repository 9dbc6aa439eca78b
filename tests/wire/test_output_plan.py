"""Planned outputs against the encoder: the same bytes, whatever is known before."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.output_topics import DECISION, MESSAGE, NOTIFICATION, STATUS, STREAM_EVENT
from processor.domain.record import EncodedKey
from processor.wire.encode import OutputEncoder
from processor.wire.output_fields import FIELDS
from processor.wire.output_plan import HoleKind, OutputShape, output_plan, part_plan
from processor.wire.schema import Map, Record, Scalar, Type, Union
from processor.wire.value_encoders import ENCODERS
from processor.wire.wire_format import WireFormat
from tests.support.output_values import DECISIONS, MESSAGES, NOTIFICATIONS, STATUSES, STREAM_EVENTS
from tests.support.planned_outputs import filled
from tests.support.wire import SCHEMAS

ENCODE = {form: OutputEncoder(SCHEMAS, output_format=form, stream_format=form) for form in WireFormat}
OUTPUTS: dict[str, st.SearchStrategy[Any]] = {
    MESSAGE: MESSAGES,
    STATUS: STATUSES,
    STREAM_EVENT: STREAM_EVENTS,
    DECISION: DECISIONS,
    NOTIFICATION: NOTIFICATIONS,
}


def is_plain(text: str) -> bool:
    """Whether JSON escapes nothing in it."""
    return json.dumps(text, ensure_ascii=False) == f'"{text}"'


@st.composite
def shapes(draw: st.DrawFn, type_: Type, value: Any, path: str = "") -> OutputShape:
    """Any of what may be known of an output whose fields are `value`."""
    if path and draw(st.integers(0, 3)) == 0:
        return OutputShape(constants={path: value})
    shape = OutputShape()
    match type_:
        case Record():
            parts = [(each.name, each.type) for each in type_.fields]
        case Map() if not any("." in key for key in value) and draw(st.booleans()):
            parts = [(key, type_.values) for key in value]
            shape = OutputShape(map_keys={path: tuple(value)})
        case Union() if type_.nullable is not None and value is not None and draw(st.booleans()):
            return OutputShape(present=frozenset((path,))) | draw(shapes(type_.nullable, value, path))
        case Union() if isinstance(type_.nullable, Scalar):
            return draw(sizes(type_.nullable, value, path))
        case Scalar():
            return draw(sizes(type_, value, path))
        case _:
            return shape
    for name, part in parts:
        shape |= draw(shapes(part, value[name], f"{path}.{name}" if path else name))
    return shape


@st.composite
def sizes(draw: st.DrawFn, type_: Scalar, value: Any, path: str) -> OutputShape:
    """A text may be known to have its size; one that is null has any."""
    if type_.kind not in ("string", "uuid") or not draw(st.booleans()) or not is_plain(value or ""):
        return OutputShape()
    return OutputShape(sizes={path: 32 if value is None else len(value.encode())})


@pytest.mark.parametrize("form", WireFormat)
@pytest.mark.parametrize("name", OUTPUTS)
@given(data=st.data())
def test_a_plan_gives_the_bytes_of_the_encoder(name: str, form: WireFormat, data: st.DataObject) -> None:
    """Any output, any of its fields known or not: exactly what is written without a plan, frame included."""
    value = data.draw(OUTPUTS[name])
    fields = FIELDS[type(value)](value)
    plan = output_plan(SCHEMAS.outputs[name], form, data.draw(shapes(SCHEMAS.outputs[name].type, fields)))

    assert ENCODE[form](value)[0] == filled(plan, fields)


@pytest.mark.parametrize("form", WireFormat)
@pytest.mark.parametrize("name", OUTPUTS)
@given(data=st.data())
def test_nothing_and_everything_known(name: str, form: WireFormat, data: st.DataObject) -> None:
    """A plan of no constants has a hole for each field; one of constants alone is one piece."""
    value = data.draw(OUTPUTS[name])
    fields = FIELDS[type(value)](value)
    nothing = output_plan(SCHEMAS.outputs[name], form)
    everything = output_plan(SCHEMAS.outputs[name], form, OutputShape(constants=fields))

    assert ENCODE[form](value)[0] == filled(nothing, fields) == everything.writer()(())
    assert (ENCODE[form](value)[0],) == everything.pieces
    assert () == everything.holes


@pytest.mark.parametrize("form", WireFormat)
@given(decision=DECISIONS)
def test_a_list_is_made_of_planned_items(form: WireFormat, decision: Any) -> None:
    """A decision's reasons: a plan of one reason, and one of the decision around them."""
    fields = FIELDS[type(decision)](decision)
    item = part_plan(SCHEMAS.outputs[DECISION], "reasons", form)
    reasons = ENCODERS[form].array([filled(item, reason) for reason in fields["reasons"]])
    around = output_plan(
        SCHEMAS.outputs[DECISION],
        form,
        OutputShape(constants={name: value for name, value in fields.items() if name != "reasons"}),
    )

    assert ENCODE[form](decision)[0] == around.writer()((reasons,))
    assert ["reasons"] == [hole.path for hole in around.holes]


@pytest.mark.parametrize("form", WireFormat)
@given(notification=NOTIFICATIONS)
def test_a_record_that_may_be_null_is_planned_by_itself(form: WireFormat, notification: Any) -> None:
    """The account of a Message: a plan of its own fills the hole of the whole."""
    fields = FIELDS[type(notification)](notification)
    constants = {name: value for name, value in fields.items() if name != "account"}
    plan = output_plan(SCHEMAS.outputs[NOTIFICATION], form, OutputShape(constants=constants))
    account = part_plan(SCHEMAS.outputs[NOTIFICATION], "account", form)
    (hole,) = plan.holes
    value = fields["account"]

    assert ENCODE[form](notification)[0] == plan.writer()((hole.fill(value and filled(account, value)),))


def test_one_encoded_value_fills_holes_of_several_outputs() -> None:
    """A key's UTF-8 and a time: as they are, in a message, where both may be null, and in its status."""
    key, form = "f7" * 16, WireFormat.AVRO
    known = OutputShape(
        present=frozenset(("encodedKey", "creationDate")),
        sizes={"encodedKey": 32},
        constants=dict.fromkeys(("body", "destination", "event", "subject")),
    )
    message = output_plan(SCHEMAS.outputs[MESSAGE], form, known)
    status = output_plan(SCHEMAS.outputs[STATUS], form, OutputShape(sizes={"encodedKey": 32}))
    kinds = {hole.path: (hole.kind, hole.null) for hole in (*message.holes, *status.holes)}

    assert (HoleKind.SIZED_TEXT, None) == kinds[EncodedKey("encodedKey")]
    assert (HoleKind.TIME, None) == kinds["creationDate"] == kinds["at"]
    assert message.pieces[0] == SCHEMAS.outputs[MESSAGE].frame + b"\x00"  # the body's null
    assert status.pieces[0] == SCHEMAS.outputs[STATUS].frame + b"\x40"
    assert key.encode() in status.writer()((key.encode(), *[b""] * (len(status.holes) - 1)))


def test_a_message_without_any_field_is_an_empty_object() -> None:
    """In JSON all 21 may be absent, and no comma is left of them."""
    plan = output_plan(SCHEMAS.outputs[MESSAGE], WireFormat.JSON)
    nothing = tuple(hole.fill(None) for hole in plan.holes)
    last = (*nothing[:-1], plan.holes[-1].fill(b'"x"'))

    assert 21 == len(nothing)
    assert b"{}" == plan.writer()(nothing)
    assert b'{"userKey":"x"}' == plan.writer()(last)


def test_constants_may_hold_any_character() -> None:
    """A percent sign too, which the executor reads itself."""
    plan = output_plan(SCHEMAS.outputs[MESSAGE], WireFormat.JSON, OutputShape(constants={"body": "100 %b %% é \x7f\n"}))
    nothing = tuple(hole.fill(None) for hole in plan.holes)

    assert '{"body":"100 %b %% é \x7f\\n"}'.encode() == plan.writer()(nothing)


@pytest.mark.parametrize("count", [0, 20, 22])
def test_a_plan_takes_as_many_values_as_it_has_holes(count: int) -> None:
    """TypeError otherwise: nothing is left out silently."""
    plan = output_plan(SCHEMAS.outputs[MESSAGE], WireFormat.AVRO)

    with pytest.raises(TypeError, match="arguments"):
        plan.writer()((b"",) * count)


def test_each_hole_needs_a_value() -> None:
    """KeyError for a path without one, TypeError for null where a value is never null; what has no hole is ignored."""
    shape = OutputShape(present=frozenset(("body",)), constants={"subject": None})
    plan = output_plan(SCHEMAS.outputs[MESSAGE], WireFormat.JSON, shape)
    values: dict[str, bytes | None] = dict.fromkeys([hole.path for hole in plan.holes])
    values |= {"body": b'"x"', "subject": b'"y"'}

    assert b'{"body":"x"}' == plan.filler()(values)
    with pytest.raises(KeyError, match="userKey"):
        plan.filler()({path: value for path, value in values.items() if path != "userKey"})
    with pytest.raises(TypeError, match="bytes"):
        plan.filler()({**values, "body": None})


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        (STATUS, OutputShape(constants={"from_": None}), "there is no from_"),
        (STATUS, OutputShape(present=frozenset(("source.topic.x",))), "there is no x"),
        (STATUS, OutputShape(sizes={"at": 8}), "at has a size, and is no text"),
        (STATUS, OutputShape(sizes={"lookupMissing": 8}), "lookupMissing has a size"),
        (NOTIFICATION, OutputShape(constants={"account.id": "ACC"}), "account.id: there is no id, or not always"),
        (NOTIFICATION, OutputShape(constants={"audit.created.at": 1}), "created is not among the known keys of audit"),
    ],
)
def test_what_is_not_there_is_not_known(name: str, shape: OutputShape, message: str) -> None:
    """ValueError: a misspelt name, or one within what may be null, is never ignored."""
    with pytest.raises(ValueError, match=message):
        output_plan(SCHEMAS.outputs[name], WireFormat.AVRO, shape)


def test_what_is_known_within_a_constant_does_not_matter() -> None:
    """An account that is known to be there, with its type and a size, and then to be null, is null."""
    schema = SCHEMAS.outputs[NOTIFICATION]
    there = OutputShape(constants={"account.type": "Client"}, present=frozenset(("account",)), sizes={"account.id": 13})
    without = output_plan(schema, WireFormat.AVRO, OutputShape(constants={"account": None}))
    plan = output_plan(schema, WireFormat.AVRO, there | OutputShape(constants={"account": None}))

    assert without.pieces == plan.pieces
    assert (
        without.pieces
        == output_plan(schema, WireFormat.AVRO, OutputShape(constants={"account": None, "account.id": "ACC"})).pieces
    )


@pytest.mark.parametrize("path", ["lookupMissing", "at"])
def test_a_part_without_fields_has_no_plan(path: str) -> None:
    """Its items, or itself, are encoded as they are."""
    with pytest.raises(ValueError, match="only what has fields"):
        part_plan(SCHEMAS.outputs[STATUS], path, WireFormat.AVRO)
