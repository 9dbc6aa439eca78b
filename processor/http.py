"""One port for operators: /health, /ready and /metrics, served by threads beside the work."""

import json
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from processor.errors import UsageError

log = structlog.get_logger()

_SLOW_CLIENT_S: Final = 5.0


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
    """A running server. `port` is the real one, also when a free one was asked for."""

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
    """Listen on `host` and `port` and answer until `close`; 0 is a free port.

    `ready` is called from other threads, once for each question, and must not block. An exception of it is answered
    with 500 and logged. Raises UsageError when the port is taken or the address is not one of this machine.
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
    daemon_threads = True
    allow_reuse_address = True  # connections of a dead predecessor in TIME_WAIT do not make the port taken
    block_on_close = False

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
        super().__init__(address, _Answer)

    def server_bind(self) -> None:
        """Bind without asking a name server for our own name, which may take seconds and tells nothing."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002  names are the library's
        """A client that went away is no news; all else is ours."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            log.exception("http request failed", client=str(client_address))


class _Answer(BaseHTTPRequestHandler):
    server: _Listener
    timeout = _SLOW_CLIENT_S
    server_version = "processor"
    sys_version = ""

    def do_GET(self) -> None:
        match urlsplit(self.path).path:
            case "/health":
                self._json(HTTPStatus.OK, {"status": "ok"})
            case "/ready":
                self._ready()
            case "/metrics":
                encode, content_type = choose_encoder(self.headers.get("Accept", ""))
                self._send(HTTPStatus.OK, content_type, encode(self.server.registry))
            case path:
                paths = ["/health", "/ready", "/metrics"]
                self._json(HTTPStatus.NOT_FOUND, {"error": f"there is no {path}", "paths": paths})

    do_HEAD = do_GET  # noqa: N815  the library's name

    def _ready(self) -> None:
        try:
            readiness = self.server.ready()
        except Exception:
            log.exception("readiness cannot be told")
            self._json(HTTPStatus.INTERNAL_SERVER_ERROR, {"ready": False, "reasons": ["readiness cannot be told"]})
        else:
            status = HTTPStatus.OK if readiness.ready else HTTPStatus.SERVICE_UNAVAILABLE
            self._json(status, readiness.as_json())

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
        log.debug("http", request=format % args)
