"""The port for operators answers what is true, to anybody, and never for long."""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest
from prometheus_client import CollectorRegistry

from processor.errors import UsageError
from processor.http import Readiness, Server, serve
from processor.metrics import RECORDS, Metrics

READY = Readiness(True)


@contextmanager
def serving(
    ready: Callable[[], Readiness] = lambda: READY, *, registry: CollectorRegistry | None = None
) -> Iterator[tuple[Server, httpx.Client]]:
    """A server on a free port, and a client that asks it."""
    server = serve("127.0.0.1", 0, registry=registry or CollectorRegistry(), ready=ready)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=5, trust_env=False) as client:
            yield server, client
    finally:
        server.close()


def test_a_process_that_answers_is_healthy_also_when_it_is_not_ready() -> None:
    """/health is 200 as long as the process answers; only /ready tells of its work."""
    with serving(lambda: Readiness(False, ("no partition was assigned yet",))) as (_, client):
        health, ready = client.get("/health"), client.get("/ready")

    assert (200, {"status": "ok"}) == (health.status_code, health.json())
    assert 503 == ready.status_code
    assert {"ready": False, "degraded": False, "reasons": ["no partition was assigned yet"]} == ready.json()


def test_degraded_is_ready() -> None:
    """What does less well than it should says so with 200, so that nobody restarts it."""
    with serving(lambda: Readiness(True, ("registry is down",), degraded=True)) as (_, client):
        ready = client.get("/ready")

    assert 200 == ready.status_code
    assert {"ready": True, "degraded": True, "reasons": ["registry is down"]} == ready.json()


def test_metrics_are_those_of_the_registry() -> None:
    """/metrics shows the registry passed in, as it is now, in Prometheus' text form."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    with serving(registry=registry) as (_, client):
        metrics[RECORDS].labels(topic="banking.events", outcome="mapped").inc(3)
        answer = client.get("/metrics")

    assert 200 == answer.status_code
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'processor_records_total{outcome="mapped",topic="banking.events"} 3.0' in answer.text.splitlines()


def test_another_path_names_the_right_ones() -> None:
    """404 lists what there is."""
    with serving() as (_, client):
        answer = client.get("/metrix?x=1")

    assert 404 == answer.status_code
    assert ["/health", "/ready", "/metrics"] == answer.json()["paths"]


def test_a_question_by_head_has_no_body() -> None:
    """HEAD is answered as GET is, without the body; asked over a bare socket, as clients hide a body that is there."""
    with serving() as (server, _), socket.create_connection(("127.0.0.1", server.port)) as bare:
        bare.sendall(b"HEAD /health HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(lambda: bare.recv(4096), b""))

    assert answer.startswith(b"HTTP/1.0 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\n")


def test_readiness_that_cannot_be_told_is_not_ready() -> None:
    """An exception of `ready` is a 500 and leaves the server answering."""

    def broken() -> Readiness:
        raise RuntimeError("boom")

    with serving(broken) as (_, client):
        answer, health = client.get("/ready"), client.get("/health")

    assert (500, False) == (answer.status_code, answer.json()["ready"])
    assert 200 == health.status_code


def test_a_client_that_says_nothing_does_not_hold_up_the_others() -> None:
    """Each question has a thread of its own."""
    with serving() as (server, client), socket.create_connection(("127.0.0.1", server.port)):
        assert 200 == client.get("/health").status_code


def test_a_taken_port_is_an_error_of_usage() -> None:
    """Exit 2 with the port and a hint, not a traceback."""
    with serving() as (server, _), pytest.raises(UsageError) as caught:
        serve("127.0.0.1", server.port, registry=CollectorRegistry(), ready=lambda: READY)

    assert (
        f"cannot listen on 127.0.0.1:{server.port}: address already in use\n"
        "hint: PROCESSOR_HTTP__PORT chooses another port, 0 a free one; PROCESSOR_HTTP__HOST the address"
    ) == str(caught.value)


def test_an_address_of_another_machine_is_an_error_of_usage() -> None:
    """TEST-NET-1 (RFC 5737) is nobody's."""
    with pytest.raises(UsageError, match=r"cannot listen on 192\.0\.2\.1:0: "):
        serve("192.0.2.1", 0, registry=CollectorRegistry(), ready=lambda: READY)


def test_a_closed_server_leaves_its_port() -> None:
    """The port can be taken again at once; closing twice is closing."""
    with serving() as (server, client):
        client.get("/health")
        server.close()
        server.close()
        again = serve("127.0.0.1", server.port, registry=CollectorRegistry(), ready=lambda: READY)
        again.close()


def test_readiness_as_json_is_json() -> None:
    """The body of /ready can be dumped as it is."""
    assert '{"ready": true, "degraded": false, "reasons": []}' == json.dumps(READY.as_json())
