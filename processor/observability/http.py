"""One port for operators: /health, /ready and /metrics, served by threads beside the work."""

import json
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from processor.errors import UsageError

log = structlog.get_logger()

REQUEST_TIMEOUT_S: Final = 5.0  # from the accepted connection to the last byte of its response
MAX_CONNECTIONS: Final = 100  # each holds a thread and a descriptor
_BACKLOG: Final = 1024  # connections that wait to be accepted; one that is dropped is tried again after a whole second
_DESCRIPTOR_RETRY_INTERVAL_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether work is being done: assigned, caught up with what is needed, last batch committed.

    `reasons` says what is missing, or what is `degraded`: something does less well than it should, and still is ready.
    """

    ready: bool
    reasons: tuple[str, ...] = ()
    degraded: bool = False

    def as_json(self) -> dict[str, Any]:
        """The body of /ready."""
        return {"ready": self.ready, "degraded": self.degraded, "reasons": list(self.reasons)}


class Server:
    """A running server. `port` is the real one, also when it was to be a free one."""

    def __init__(self, listener: "_Listener") -> None:
        self._listener = listener
        self.host = str(listener.server_address[0])
        self.port = int(listener.server_address[1])
        self._thread = threading.Thread(target=listener.serve_forever, args=(0.1,), name="http", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening. Blocks for at most a few tenths of a second; a second call does nothing."""
        if self._thread.is_alive():
            self._listener.shutdown()
            self._thread.join()
        self._listener.server_close()


def serve(host: str, port: int, *, registry: CollectorRegistry, ready: Callable[[], Readiness]) -> Server:
    """Listen on `host` and `port`, and respond until `close`; 0 is a free port.

    `ready` is called from other threads, once for each request, and must not block. An exception of it is logged, and
    the response is 500. Raises UsageError when the port is taken or the address is not one of this machine.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = _Listener(family, (str(address[0]), int(address[1])), registry, ready)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"cannot listen on {host}:{port}: {why.lower()}",
            hint="PROCESSOR_HTTP__PORT chooses another port, 0 a free one; PROCESSOR_HTTP__HOST the address",
        ) from error
    return Server(listener)


class _Listener(ThreadingHTTPServer):
    """A thread for each connection, none longer than REQUEST_TIMEOUT_S, and the oldest of too many is cut.

    A connection is cut by shutting its socket down, which wakes its thread out of whatever read or write it waits in.
    """

    daemon_threads = True
    allow_reuse_address = True  # connections of a dead predecessor in TIME_WAIT do not make the port taken
    block_on_close = False
    request_queue_size = _BACKLOG

    def __init__(
        self,
        family: int,
        address: tuple[str, int],
        registry: CollectorRegistry,
        ready: Callable[[], Readiness],
    ) -> None:
        self.address_family = family
        self.registry = registry
        self.ready = ready
        self._deadlines: dict[socket.socket, float] = {}  # of open connections, the oldest first
        self._closing = threading.Lock()  # a descriptor that is shut down must not become another's meanwhile
        super().__init__(address, _RequestHandler)

    def get_request(self) -> tuple[socket.socket, Any]:
        """The next connection. Where there is no descriptor for it, the loop must not spin until there is."""
        try:
            return super().get_request()
        except OSError:
            time.sleep(_DESCRIPTOR_RETRY_INTERVAL_S)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Respond in a thread of its own. Of too many the oldest is cut: an honest request takes milliseconds."""
        with self._closing:
            if len(self._deadlines) >= MAX_CONNECTIONS:
                oldest = next(iter(self._deadlines))
                del self._deadlines[oldest]
                _shut_down(oldest)
            self._deadlines[request] = time.monotonic() + REQUEST_TIMEOUT_S
        try:
            super().process_request(request, client_address)
        except RuntimeError as error:  # the system has no thread for it; the loop itself must not wait for a client
            log.warning("http connection dropped", cause=str(error))
            self.close_request(request)

    def service_actions(self) -> None:
        """Cut connections whose time is over; called by the loop every tenth of a second and after each connection."""
        now = time.monotonic()
        with self._closing:
            for connection, deadline in list(self._deadlines.items()):
                if now < deadline:
                    break
                del self._deadlines[connection]
                _shut_down(connection)

    def shutdown_request(self, request: Any) -> None:
        """End the response, and read what the client still sends: closed before that, its system drops the response.

        Blocks until the client closes, or the connection is cut.
        """
        with suppress(OSError):
            request.shutdown(socket.SHUT_WR)
            while request.recv(65_536):
                pass
        self.close_request(request)

    def close_request(self, request: Any) -> None:
        """Give the descriptor back."""
        with self._closing:
            self._deadlines.pop(request, None)
            request.close()

    def server_bind(self) -> None:
        """Bind without a look-up of our own name at a name server, which may take seconds and is of no use."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002  names are the library's
        """A client that went away is nothing to log; all else is our error."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            log.exception("http request failed", client=str(client_address))


def _shut_down(connection: socket.socket) -> None:
    with suppress(OSError):  # the client was quicker
        connection.shutdown(socket.SHUT_RDWR)


class _RequestHandler(BaseHTTPRequestHandler):
    server: _Listener
    server_version = "processor"
    sys_version = ""

    def do_GET(self) -> None:
        match self.path.partition("?")[0]:
            case "/health":
                self._json(HTTPStatus.OK, {"status": "ok"})
            case "/ready":
                self._ready()
            case "/metrics":
                self._metrics()
            case path:
                paths = ["/health", "/ready", "/metrics"]
                self._json(HTTPStatus.NOT_FOUND, {"error": f"there is no {path}", "paths": paths})

    do_HEAD = do_GET  # noqa: N815  the library's name

    def _ready(self) -> None:
        try:
            readiness = self.server.ready()
        except Exception:
            log.exception("readiness check failed")
            self._json(HTTPStatus.INTERNAL_SERVER_ERROR, {"ready": False, "reasons": ["readiness check failed"]})
        else:
            status = HTTPStatus.OK if readiness.ready else HTTPStatus.SERVICE_UNAVAILABLE
            self._json(status, readiness.as_json())

    def _metrics(self) -> None:
        try:
            encode, content_type = choose_encoder(self.headers.get("Accept", ""))
        except Exception:  # the library raises various errors for a header it cannot read
            encode, content_type = choose_encoder("")
        try:
            body = encode(self.server.registry)
        except Exception:
            log.exception("metrics collection failed")
            self._json(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": "metrics collection failed"})
        else:
            self._send(HTTPStatus.OK, content_type, body)

    def _json(self, status: HTTPStatus, body: dict[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(body).encode() + b"\n")

    def _send(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the library's name
        log.debug("http request", request=format % args)
