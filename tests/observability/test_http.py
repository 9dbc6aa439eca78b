"""The operators' port responds with the truth, to any client, and within bounded time."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import httpx
import pytest
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

from processor.errors import UsageError
from processor.observability.http import MAX_CONNECTIONS, REQUEST_TIMEOUT_S, Readiness, Server, serve
from processor.observability.metrics import RECORDS, Metrics
from tests.support.waiting import wait_until

READY = Readiness(True)


@contextmanager
def serving(
    ready: Callable[[], Readiness] = lambda: READY, *, registry: CollectorRegistry | None = None
) -> Iterator[tuple[Server, httpx.Client]]:
    """A server on a free port, and a client of it."""
    server = serve("127.0.0.1", 0, registry=registry or CollectorRegistry(), ready=ready)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=5, trust_env=False) as client:
            yield server, client
    finally:
        server.close()


def test_a_process_that_responds_is_healthy_even_when_not_ready() -> None:
    """/health is 200 as long as the process responds; only /ready depends on its work."""
    with serving(lambda: Readiness(False, ("no partition was assigned yet",))) as (_, client):
        health, ready = client.get("/health"), client.get("/ready")

    assert (200, {"status": "ok"}) == (health.status_code, health.json())
    assert 503 == ready.status_code
    assert {"ready": False, "degraded": False, "reasons": ["no partition was assigned yet"]} == ready.json()


def test_degraded_is_ready() -> None:
    """What does less well than it should says so with 200, so that it is not restarted."""
    with serving(lambda: Readiness(True, ("registry is down",), degraded=True)) as (_, client):
        ready = client.get("/ready")

    assert 200 == ready.status_code
    assert {"ready": True, "degraded": True, "reasons": ["registry is down"]} == ready.json()


def test_metrics_are_those_of_the_registry() -> None:
    """/metrics shows the registry passed in, as it is now, in Prometheus' text form."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    with serving(registry=registry) as (_, client):
        metrics[RECORDS].labels(topic="banking.events", outcome="processed").inc(3)
        response = client.get("/metrics")

    assert 200 == response.status_code
    assert response.headers["content-type"].startswith("text/plain")
    assert 'processor_records_total{outcome="processed",topic="banking.events"} 3.0' in response.text.splitlines()


def test_another_path_names_the_right_ones() -> None:
    """404 lists what there is."""
    with serving() as (_, client):
        response = client.get("/metrix?x=1")

    assert 404 == response.status_code
    assert ["/health", "/ready", "/metrics"] == response.json()["paths"]


def test_a_head_request_has_no_body() -> None:
    """HEAD gets what GET does, without the body; sent over a bare socket, as clients hide a body that is there."""
    with serving() as (server, _), socket.create_connection(("127.0.0.1", server.port)) as raw_connection:
        raw_connection.sendall(b"HEAD /health HTTP/1.0\r\n\r\n")
        response = b"".join(iter(lambda: raw_connection.recv(4096), b""))

    assert response.startswith(b"HTTP/1.0 200 OK\r\n")
    assert response.endswith(b"\r\n\r\n")


def test_a_failing_readiness_check_is_not_ready() -> None:
    """An exception of `ready` is a 500 and does not stop the server."""

    def broken() -> Readiness:
        raise RuntimeError("boom")

    with serving(broken) as (_, client):
        response, health = client.get("/ready"), client.get("/health")

    assert (500, False) == (response.status_code, response.json()["ready"])
    assert 200 == health.status_code


def test_a_silent_client_does_not_block_the_others() -> None:
    """Each question has a thread of its own."""
    with serving() as (server, client), socket.create_connection(("127.0.0.1", server.port)):
        assert 200 == client.get("/health").status_code


def test_a_port_in_use_is_a_usage_error() -> None:
    """Exit 2 with the port and a hint, not a traceback."""
    with serving() as (server, _), pytest.raises(UsageError) as caught:
        serve("127.0.0.1", server.port, registry=CollectorRegistry(), ready=lambda: READY)

    assert (
        f"cannot listen on 127.0.0.1:{server.port}: address already in use\n"
        "hint: PROCESSOR_HTTP__PORT chooses another port, 0 a free one; PROCESSOR_HTTP__HOST the address"
    ) == str(caught.value)


def test_an_address_of_another_machine_is_a_usage_error() -> None:
    """TEST-NET-1 (RFC 5737) belongs to no machine."""
    with pytest.raises(UsageError, match=r"cannot listen on 192\.0\.2\.1:0: "):
        serve("192.0.2.1", 0, registry=CollectorRegistry(), ready=lambda: READY)


def test_a_closed_server_frees_its_port() -> None:
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


# ------------------------------------------------------------------------------------------------- clients that are not


def raw_connection(server: Server) -> socket.socket:
    """A connection that gives up after ten seconds."""
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


def response_of(connection: socket.socket) -> bytes:
    """All that comes until the server closes."""
    return b"".join(iter(lambda: connection.recv(65_536), b""))


def response_to(server: Server, request: bytes) -> bytes:
    """The whole response to these bytes."""
    with raw_connection(server) as connection:
        connection.sendall(request)
        return response_of(connection)


def serving_threads() -> int:
    """Threads that serve a client now."""
    return sum("process_request" in thread.name for thread in threading.enumerate())


def assert_responses_within_a_second(server: Server) -> None:
    """Both requests of a supervisor, made as one does: with a connection of its own each.

    A server that is held up is slow each time, a busy machine only now and then: the fastest of three counts.
    """
    for path in ("/health", "/ready"):
        took_s: list[float] = []
        while not took_s or (min(took_s) >= 1 and len(took_s) < 3):
            started = time.monotonic()
            response = response_to(server, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            took_s.append(time.monotonic() - started)

            assert response.startswith(b"HTTP/1.0 200 ")
        assert min(took_s) < 1


@pytest.mark.process
def test_a_request_has_one_deadline_however_slowly_it_comes() -> None:
    """A byte now and then does not keep a connection: it is closed after REQUEST_TIMEOUT_S from its beginning."""
    with serving() as (server, _), raw_connection(server) as slow:
        started_at = time.monotonic()
        with suppress(ConnectionError):
            for _ in range(100):
                slow.sendall(b"G")
                time.sleep(0.2)
        took_s = time.monotonic() - started_at

    assert REQUEST_TIMEOUT_S - 0.5 < took_s < REQUEST_TIMEOUT_S + 5


@pytest.mark.process
def test_a_client_that_never_reads_is_cut_off_at_the_deadline() -> None:
    """A response that is larger than all buffers holds its thread no longer than a request may take."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    for number in range(20_000):
        metrics[RECORDS].labels(topic=f"{number}-{'x' * 200}", outcome="processed").inc()
    with serving(registry=registry) as (server, _), raw_connection(server) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        deadline = time.monotonic() + REQUEST_TIMEOUT_S + 3
        while not serving_threads() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(1)
        assert 1 == serving_threads()  # else nothing was held
        while serving_threads() and time.monotonic() < deadline:
            time.sleep(0.05)

        assert 0 == serving_threads()
        assert_responses_within_a_second(server)


def test_a_thousand_connections_use_few_threads_and_block_no_client() -> None:
    """The oldest of too many is cut off, so that threads and descriptors stay bounded and new clients are served."""
    with serving() as (server, _), ExitStack() as silent:
        for _ in range(1000):
            silent.enter_context(raw_connection(server))
        assert_responses_within_a_second(server)

        # The thread of a connection that was cut off ends soon, long before one that holds its connection.
        wait_until(lambda: serving_threads() <= MAX_CONNECTIONS, timeout_s=REQUEST_TIMEOUT_S / 2)


def test_complete_requests_are_served_beside_a_thousand_incomplete_ones() -> None:
    """While connections with half a request come without pause, /health and /ready respond within a second."""
    with serving() as (server, _):
        stop = threading.Event()

        def flood() -> None:
            with ExitStack() as connections:
                for _ in range(1000):
                    if stop.is_set():
                        return
                    connection = connections.enter_context(raw_connection(server))
                    with suppress(ConnectionError):
                        connection.sendall(b"GET /health HTTP/1.1\r\nX: ")

        thread = threading.Thread(target=flood)
        thread.start()
        try:
            while thread.is_alive():
                assert_responses_within_a_second(server)
        finally:
            stop.set()
            thread.join()


def test_a_connection_without_a_thread_blocks_no_client() -> None:
    """Where the system has no thread for it, it is closed; the loop does not wait until its client has left."""
    with serving() as (server, _), ExitStack() as connections:
        usual = threading.stack_size(2**45)  # which no system gives
        try:
            silent = connections.enter_context(raw_connection(server))
            silent.sendall(b"GET /health HTTP/1.1\r\n\r\n")
            with suppress(ConnectionError):
                assert b"" == response_of(silent)
        finally:
            threading.stack_size(usual)

        assert_responses_within_a_second(server)


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text; version=x",
        "application/openmetrics-text; version=",
        "application/openmetrics-text; version=9999999999999999999999.0.0; escaping=nonsense",
        "text/plain; version=1.x.0",
        "text/plain; version=1.0.0; escaping==;;=",
        ",;,=",
        "\xff\xfe",
    ],
)
def test_metrics_are_served_for_any_accept_header(accept: str) -> None:
    """An Accept header that the Prometheus library cannot read gets the plain text format."""
    registry = CollectorRegistry()
    Metrics(registry)[RECORDS].labels(topic="t", outcome="processed").inc()
    with serving(registry=registry) as (server, _):
        response = response_to(server, f"GET /metrics HTTP/1.0\r\nAccept: {accept}\r\n\r\n".encode("latin-1"))

    assert response.startswith(b"HTTP/1.0 200 OK\r\n")
    assert b"processor_records_total" in response


def test_metrics_that_cannot_be_collected_are_a_500() -> None:
    """A collector that raises is a 500, not a connection that is closed without a word."""

    class Broken(Collector):
        def collect(self) -> Iterator[Metric]:
            raise RuntimeError("boom")

    registry = CollectorRegistry()
    registry.register(Broken())
    with serving(registry=registry) as (server, _):
        response = response_to(server, b"GET /metrics HTTP/1.0\r\n\r\n")

    assert response.startswith(b"HTTP/1.0 500 ")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /health HTTP/1.1\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\n", b"431"),
        (b"GET /health HTTP/1.1\r\n" + b"X: y\r\n" * 10_000 + b"\r\n", b"431"),
        (b"GET /" + b"x" * 1_000_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"POST /health HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000, b"501"),
        (b"DELETE /ready HTTP/1.1\r\n\r\n", b"501"),
        (b"GET http://[half/ready HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /health HTTP/1.1\r\n\r\n\x00\xffGET / garbage" + b"x" * 100_000, b"200"),
        (b"GET /health HTTP/1.1\r\nnot a header\r\n\r\n", b"200"),
    ],
    ids=["huge header", "many headers", "huge path", "body", "method", "half an address", "pipelined", "no header"],
)
def test_malformed_requests_get_a_response(request_bytes: bytes, status: bytes) -> None:
    """With a status that says what is wrong, which the client can read to its end, and all others get a response."""
    with serving() as (server, _):
        response = response_to(server, request_bytes)
        assert_responses_within_a_second(server)

    assert status == response.split(b" ", 2)[1]


@pytest.mark.parametrize(
    "request_bytes", [b"\r\n", b"\x16\x03\x01\x02\x00" + bytes(range(256)), b"GET\r\n", b"\n" * 999]
)
def test_what_is_no_request_ends_its_connection(request_bytes: bytes) -> None:
    """TLS, noise and blank lines end their connection."""
    with serving() as (server, _):
        response_to(server, request_bytes)
        assert_responses_within_a_second(server)


def test_http_0_9_requests_are_served() -> None:
    """HTTP/0.9 has no headers, in neither direction."""
    with serving() as (server, _):
        assert b'{"status": "ok"}\n' == response_to(server, b"GET /health\r\n\r\n")


def test_only_one_response_for_a_connection_of_http_1_0_and_1_1() -> None:
    """What follows the first request is not read, so that no client is served for ever."""
    with serving() as (server, _):
        response = response_to(server, b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n" * 3)

    assert 1 == response.count(b"HTTP/1.0 200 OK")
