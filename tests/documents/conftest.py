"""What all tests of the pages share."""

import os
import signal
from collections.abc import Iterator

import pytest


@pytest.fixture
def reader_of_a_guide(bootstrap_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that a page shows find the tests' broker and topics of the test, and take a free port."""
    monkeypatch.setenv("PROCESSOR_KAFKA__BOOTSTRAP_SERVERS", bootstrap_servers)
    monkeypatch.setenv("PROCESSOR_TOPICS__PREFIX", topic_prefix)
    monkeypatch.setenv("PROCESSOR_HTTP__PORT", "0")


@pytest.fixture(autouse=True)
def process_as_before() -> Iterator[None]:
    """Undo what `processor run` does to its process, as pages are typed in the tests' own."""
    umask = os.umask(0)
    os.umask(umask)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    os.umask(umask)
    for number, handler in handlers.items():
        signal.signal(number, handler)
