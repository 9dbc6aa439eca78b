"""HTTP servers on loopback that respond as a test decides, mostly as schema registries with Confluent's API."""

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Response:
    """One response. `status` 0: the connection is closed without one. `delay_s` passes before it."""

    status: int = 200
    body: bytes = b"{}"
    delay_s: float = 0.0


NO_SCHEMA = Response(404, b'{"error_code": 40403, "message": "Schema not found"}')
"""A registry's response for an id that it does not have."""


def json_response(value: Any, *, status: int = 200) -> Response:
    """`value` as JSON."""
    return Response(status, json.dumps(value).encode())


def responses(by_path: Mapping[str, Response], *, otherwise: Response = NO_SCHEMA) -> Callable[[str], Response]:
    """The response of each path; `by_path` may be changed while the server runs."""
    return lambda path: by_path.get(path, otherwise)


class LoopbackServer:
    """A context manager, up within its block. `respond` gives the response of a path; it is called by several threads.

    `paths` and `authorizations` are what was requested so far, and by whom.
    """

    def __init__(self, respond: Callable[[str], Response], *, tls: ssl.SSLContext | None = None) -> None:
        self.paths: list[str] = []
        self.authorizations: list[str | None] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.paths.append(self.path)
                server.authorizations.append(self.headers.get("Authorization"))
                response = respond(self.path)
                time.sleep(response.delay_s)
                if response.status == 0:
                    return
                self.send_response(response.status)
                self.end_headers()
                self.wfile.write(response.body)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.do_GET()

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: Any) -> None:
                """Quiet: a client that was killed, or that no longer waits."""

        self._server = Server(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="loopback server", daemon=True
        )
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


class StubRegistry(LoopbackServer):
    """A registry with responses by path: status, then body. They may be changed while it runs."""

    def __init__(self, responses: Mapping[str, tuple[int, bytes]]) -> None:
        super().__init__(lambda path: Response(*responses[path]) if path in responses else NO_SCHEMA)


@contextmanager
def recovering_registry(values: Mapping[str, Any]) -> Iterator[str]:
    """The address of a registry that is down (503) until `values`, JSON by path, has the path that is requested."""

    def respond(path: str) -> Response:
        return json_response(values[path]) if path in values else Response(503)

    with LoopbackServer(respond) as loopback:
        yield loopback.url
