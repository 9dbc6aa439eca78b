"""Which headers of an event its outputs carry on: none that a reader could not read."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.outcome import Processed, Rejected
from processor.domain.record import Headers, OutRecord
from processor.mapping.propagation import PropagatedHeaders, propagated_headers
from tests.support.builders import (
    make_context,
    make_email,
    make_event,
    make_output_topics,
    make_record,
    make_task,
    make_template,
    make_webhook,
    map_record,
)

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01".encode()
DEAD_LETTERS = make_output_topics().dead_letters.name


def propagated(*headers: tuple[str, bytes | None]) -> Headers:
    """What is carried on; all of the others that have our names are named."""
    result = propagated_headers(headers)
    names = {name for name, _ in headers} & {"traceparent", "tracestate", "correlation-id"}
    assert names - {name for name, _ in result.headers} == set(result.malformed)
    assert len(result.malformed) == len(set(result.malformed))
    return result.headers


@pytest.mark.parametrize(
    "value",
    [
        PARENT,
        f"00-{TRACE}-{SPAN}-00".encode(),
        f"00-{TRACE}-{SPAN}-ff".encode(),
        f"01-{TRACE}-{SPAN}-01".encode(),
        f"cc-{TRACE}-{SPAN}-01".encode(),
        f"cc-{TRACE}-{SPAN}-01-what-comes-later".encode(),
        f"fe-{TRACE}-{SPAN}-01-".encode(),
        f"00-{'0' * 31}1-{'0' * 15}1-01".encode(),
    ],
)
def test_a_traceparent_is_propagated(value: bytes) -> None:
    """Version 00 exactly, and a later version as far as we know it."""
    assert (("traceparent", value),) == propagated(("traceparent", value))


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b" ",
        b"null",
        b"00-1-2-01",
        PARENT[:-1],
        PARENT + b"0",
        PARENT + b"-",
        PARENT + b"-more",
        PARENT + b"\n",
        PARENT + b" ",
        b" " + PARENT,
        PARENT + b"\x00",
        PARENT.upper(),
        PARENT.replace(b"-", b"_"),
        PARENT.replace(b"4bf9", b"4bg9"),
        PARENT.replace(b"4bf9", b"4b\xff9"),
        PARENT + b"," + PARENT,
        f"ff-{TRACE}-{SPAN}-01".encode(),
        f"0-{TRACE}-{SPAN}-01".encode(),
        f"00-{'0' * 32}-{SPAN}-01".encode(),
        f"00-{TRACE}-{'0' * 16}-01".encode(),
        f"cc-{'0' * 32}-{SPAN}-01".encode(),
        f"cc-{TRACE}-{SPAN}-01.what".encode(),
        f"cc-{TRACE}-{SPAN}-01-a b".encode(),
        f"cc-{TRACE}-{SPAN}-01-{'x' * 1000}".encode(),
        f"00-{TRACE}-{SPAN}-0१".encode(),
        f"00-{TRACE}-{SPAN}-01".encode("utf-16"),
        b"\xff" * 55,
        b"0" * 1_000_000,
    ],
)
def test_an_invalid_traceparent_is_not_propagated(value: bytes | None) -> None:
    """And takes its tracestate with it; what else is there stays."""
    headers = (("traceparent", value), ("tracestate", b"a=1"), ("correlation-id", b"c-1"))

    assert (("correlation-id", b"c-1"),) == propagated(*headers)


def test_several_traceparents_are_no_trace() -> None:
    """It is not known which it is, also where they are the same, or one is none."""
    for other in (PARENT, PARENT.replace(b"4bf9", b"4bf8"), None, b""):
        assert () == propagated(("traceparent", PARENT), ("tracestate", b"a=1"), ("traceparent", other))


@pytest.mark.parametrize(
    "value",
    [
        b"a=1",
        b"congo=t61rcWkgMzE,rojo=00f067aa0ba902b7",
        b"fw529a3039@dt=FfFfFf",
        b"1a-b_c*d/e@x=y",
        b"a=1 , b=2\t,c=3",
        b"a=1,,b=2",
        b"a=inner blanks are ok",
        b"a= 1",
        b"ot=p:8;r:62",
        b"foo=1,foo=2",  # the order of one key's entries is for who reads them
        b"a" * 256 + b"=" + b"v" * 255,
        b"t" * 241 + b"@" + b"s" * 14 + b"=1",
        b",".join(b"k%d=%d" % (number, number) for number in range(32)),
    ],
)
def test_a_tracestate_is_propagated(value: bytes) -> None:
    """As it is, behind its traceparent."""
    assert (("traceparent", PARENT), ("tracestate", value)) == propagated(
        ("tracestate", value), ("traceparent", PARENT)
    )
    assert () == propagated(("tracestate", value))


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b" ",
        b"a",
        b"a=",
        b"=1",
        b"A=1",
        b"1a=1",
        b"a =1",
        b"a=1=2",
        b"a=1;b=2",
        b"a=1,b",
        b"a=\xc3\xa9",
        b"a=\xff",
        b"a=1\n",
        b"a=1\x00",
        b"a@b@c=1",
        b"a@1=1",
        b"@b=1",
        b"a" * 257 + b"=1",
        b"a=" + b"v" * 257,
        b"t" * 242 + b"@s=1",
        b"t@" + b"s" * 15 + b"=1",
        b",".join(b"k%d=%d" % (number, number) for number in range(33)),
        b"," * 32,
        b",".join(b"k%d=%s" % (number, b"v" * 100) for number in range(5)),
        b"a=1," * 250_000,
    ],
)
def test_an_invalid_tracestate_is_not_propagated(value: bytes | None) -> None:
    """The trace goes on without it."""
    assert (("traceparent", PARENT),) == propagated(("traceparent", PARENT), ("tracestate", value))


def test_several_tracestates_are_one_list() -> None:
    """In their order, in one header, so that who reads one sees them all; a part that is none spoils the list."""
    assert (("traceparent", PARENT), ("tracestate", b"a=1,b=2,c=3")) == propagated(
        ("tracestate", b"a=1"), ("traceparent", PARENT), ("tracestate", b"b=2,c=3")
    )
    for other in (None, b"B", b"b=" + b"v" * 250 + b",c=" + b"v" * 250 + b",d=" + b"v" * 20):
        headers = (("traceparent", PARENT), ("tracestate", b"a=1"), ("tracestate", other))
        assert (("traceparent", PARENT),) == propagated(*headers)


@pytest.mark.parametrize("value", [b"c-1", "Antrag Nr. 7 – ü".encode(), b"x" * 512, b"0", b" c "])
def test_a_correlation_id_is_propagated(value: bytes) -> None:
    """One line of UTF-8, as it is; without any trace too."""
    assert (("correlation-id", value),) == propagated(("correlation-id", value))


@pytest.mark.parametrize(
    "value",
    [None, b"", b" ", b"a\nb", b"a\x00", b"a\x1b[2J", b"\xc2\x85", b"\xff\xfe", b"\xed\xa0\x80", b"\xc3", b"x" * 513],
)
def test_an_invalid_correlation_id_is_not_propagated(value: bytes | None) -> None:
    """Null, blank, several lines, bytes that are no text, or more than an id."""
    assert (("traceparent", PARENT),) == propagated(("correlation-id", value), ("traceparent", PARENT))


def test_of_several_correlation_ids_the_last_counts() -> None:
    """As Kafka's readers take it, for better or worse."""
    assert (("correlation-id", b"c-2"),) == propagated(("correlation-id", None), ("correlation-id", b"c-2"))
    assert () == propagated(("correlation-id", b"c-1"), ("correlation-id", None))


def test_other_headers_are_ignored() -> None:
    """Neither carried on nor counted, whatever they hold; names are compared with their case, as Kafka does."""
    headers = (("secret", None), ("Traceparent", PARENT), ("dl.reason", b"x"), ("lineage", b"{}"), ("baggage", b"a=1"))

    assert PropagatedHeaders((), ()) == propagated_headers(headers)


NAMES = st.sampled_from(["traceparent", "tracestate", "correlation-id", "other"])
VALUES = st.none() | st.binary(max_size=80) | st.sampled_from([PARENT, b"a=1", b"b=2", b"c-1"])


@given(st.lists(st.tuples(NAMES, VALUES), max_size=6))
def test_any_propagated_headers_can_be_read(headers: list[tuple[str, bytes | None]]) -> None:
    """Whatever comes in: one header of a name at most, never null, always one line of UTF-8, and ours alone."""
    result = propagated(*headers)

    assert len(result) == len({name for name, _ in result})
    for name, value in result:
        assert value is not None
        assert name in ("traceparent", "tracestate", "correlation-id")
        assert re.fullmatch(r"[^\x00-\x1f\x7f]+", value.decode().replace("\t", " "))
    if "tracestate" in dict(result):
        assert "traceparent" in dict(result)


BAD: Headers = (("traceparent", None), ("tracestate", b"a=1"), ("correlation-id", None), ("correlation-id", b"\xff"))


@pytest.mark.parametrize("headers", [(), BAD, (("traceparent", PARENT),), (*BAD, ("tracestate", None))])
def test_every_output_has_headers_that_can_be_read(headers: Headers) -> None:
    """Messages, statuses, a Message, a stream event, decisions; a dead letter keeps the source's, nulls too."""
    templates = (
        make_email("mail"),
        make_task("task"),
        make_webhook("hook"),
        make_template("stream"),
        make_template("off", active=False),
        make_template("broken", body="{GROUP_ID}", strict=True),
    )
    record = make_record(make_event(), headers=headers)
    outcome = map_record(record, make_context(*templates), frozenset())
    empty = map_record(make_record(value=b"", headers=headers), make_context(*templates), frozenset())
    assert isinstance(outcome, Processed)
    assert isinstance(empty, Processed)
    outputs = [out for out in (*outcome.outputs, *empty.outputs) if out.topic != DEAD_LETTERS]
    (letter,) = [out for out in outcome.outputs if out.topic == DEAD_LETTERS]
    output_topics = make_output_topics()

    assert {
        output_topics.messages.name,
        output_topics.status.name,
        output_topics.notifications.name,
        output_topics.decisions.name,
        output_topics.streams[make_event().name].name,
    } == {out.topic for out in outputs}
    for out in outputs:
        assert propagated_headers(headers).headers == propagated_headers_of(out)
        assert None not in dict(out.headers).values()
    assert record.headers == letter.headers[: len(record.headers)]
    assert propagated_headers(headers).malformed == outcome.malformed_headers


def test_malformed_headers_never_make_a_dead_letter() -> None:
    """The event is what counts; one that is a dead letter anyway keeps them all."""
    good = map_record(make_record(headers=BAD), make_context(make_email()), frozenset())
    bad = map_record(make_record(value=b"broken", headers=BAD), make_context(make_email()), frozenset())
    assert isinstance(good, Processed)
    assert isinstance(bad, Rejected)

    assert ("traceparent", "tracestate", "correlation-id") == good.malformed_headers
    assert 1 == len(good.created)
    assert BAD == bad.outputs[0].headers[: len(BAD)]


def propagated_headers_of(out: OutRecord) -> Headers:
    """The headers of an output that it has of its source."""
    return tuple((name, value) for name, value in out.headers if name not in ("content-type", "lineage"))
