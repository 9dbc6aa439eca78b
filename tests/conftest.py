"""What all tests share: one real Kafka for the session, and names that no two tests share."""

import logging
import os
import secrets
from collections.abc import Iterator

import pytest
import structlog

from processor.kafka.local.kafka import local_kafka
from tests.engine.apicurio import apicurio


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """Logging is the process's own: a command called in a test sends it to a stream that is closed with the test."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    structlog.reset_defaults()
    root.handlers, root.level = handlers, level


@pytest.fixture(scope="session", autouse=True)
def _plain_tracebacks() -> None:
    """By default structlog has rich show local variables, which took 20 s where our schemas were among them."""
    structlog.dev.ConsoleRenderer.get_active().exception_formatter = structlog.dev.plain_traceback


@pytest.fixture(scope="session", autouse=True)
def _state_apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Local copies of the reference tables do not pile up in the user's state folder; processes inherit this."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def bootstrap_servers() -> Iterator[str]:
    """The broker that tests use: the one that `TEST_BOOTSTRAP_SERVERS` names, else a local Kafka for the session."""
    if given := os.environ.get("TEST_BOOTSTRAP_SERVERS"):
        yield given
        return
    with local_kafka() as kafka:
        yield kafka.bootstrap_servers


@pytest.fixture(scope="session")
def registry_url() -> Iterator[str]:
    """A real schema registry for the session; a test's subjects have names of its own, or are its alone."""
    with apicurio() as url:
        yield url


@pytest.fixture
def topic_prefix() -> str:
    """A prefix for topics, groups and transactional ids that no other test, session or machine uses."""
    return f"test-{secrets.token_hex(4)}."
