"""The broker and the schema registry of a test run: started when a test first needs one, and shared by all of its
processes, also those that pytest-xdist runs tests in."""

import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Final

from processor.kafka.local.kafka import local_kafka
from tests.support.apicurio import apicurio

HOST_VARIABLE: Final = "TEST_SERVICES_SOCKET"
START_TIMEOUT_S: Final = 180.0  # the first start on a machine fetches jars
SOON_STARTED_AGAIN: Final[Mapping[str, str]] = {"broker.session.timeout.ms": "3000"}
"""For a broker of a test's own that is killed: it comes back when its old session has timed out."""


@contextmanager
def _broker() -> Iterator[str]:
    with local_kafka() as kafka:
        yield kafka.bootstrap_servers


SERVICES: Final[Mapping[str, Callable[[], AbstractContextManager[str]]]] = {"kafka": _broker, "registry": apicurio}


class ServiceHost:
    """Starts each service once, at the first request for it, and ends all of them when it is closed.

    Lives in the process that outlives the others: pytest's own, or the one that hands the tests out to workers.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._addresses: dict[str, str] = {}
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="test-services-"))
        os.environ[HOST_VARIABLE] = str(Path(folder) / "socket")  # processes that this one starts inherit it
        self._listener = Listener(os.environ[HOST_VARIABLE], "AF_UNIX")
        self._thread = threading.Thread(target=self._serve, name="test services", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            with self._listener.accept() as connection, suppress(EOFError, OSError):  # a client may be gone
                name = connection.recv()
                if name is None:
                    return
                self._respond(connection, name)

    def _respond(self, connection: Connection, name: str) -> None:
        """The service's address, or what went wrong, so that no test waits for it in vain."""
        try:
            if name not in self._addresses:
                self._addresses[name] = self._stack.enter_context(SERVICES[name]())
            connection.send((self._addresses[name], None))
        except Exception as error:
            connection.send((None, repr(error)))

    def close(self) -> None:
        """End all services. Blocks until they are gone."""
        with Client(os.environ[HOST_VARIABLE]) as connection:
            connection.send(None)
        self._thread.join(START_TIMEOUT_S)
        self._listener.close()
        os.environ.pop(HOST_VARIABLE, None)
        self._stack.close()


def address_of(service: str) -> str:
    """The address of a service of SERVICES. Blocks until it is ready, seconds at the first request."""
    with Client(os.environ[HOST_VARIABLE]) as connection:
        connection.send(service)
        if not connection.poll(START_TIMEOUT_S):
            raise TimeoutError(f"{service} did not start within {START_TIMEOUT_S:.0f} s")
        address, error = connection.recv()
    if error is not None:
        raise RuntimeError(f"{service} did not start: {error}")
    return str(address)
