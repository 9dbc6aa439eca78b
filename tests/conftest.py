"""What all tests share: one real Kafka and one schema registry for the run, and names that no two tests share."""

import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any, Final

import pytest
import structlog

from tests.support.executors import EXECUTORS, use_executor
from tests.support.laws import register_profiles
from tests.support.services import HOST_VARIABLE, ServiceHost, address_of
from tests.support.shipped import built_once

MEMORY_DISK: Final = "/dev/shm"  # noqa: S108  of Linux; no name that we make in it is foreseeable
MEMORY_DISK_BYTES: Final = 4_000_000_000
ONE_PROCESS_FILES: Final = (
    "demo/test_demo.py",
    "engine/test_fetch_errors.py",
    "engine/test_not_allowed.py",
    "fuzz/test_harness.py",
    "generators/test_java.py",
    "kafka/local/test_kafka.py",
    "kafka/test_no_connection.py",
    "mapping/test_event_plan.py",
    "mapping/test_scanned_event.py",
    "replay/test_replay_same_moment.py",
    "wire/test_scan.py",
)
"""Files whose tests share what is costly to set up, mostly a broker or the expressions of scans, or look at what all
demos of a broker leave behind. A mark would do, but pytest-xdist 3.8.0 ignores its `xdist_group` with pytest 9.2."""
SCENARIOS: Final = "tests/scenarios/"
"""Tests of one process: they run their scenarios beside each other by themselves."""

register_profiles()


def pytest_configure(config: pytest.Config) -> None:
    """For the whole run, so not in pytest-xdist's workers, which inherit what is set here."""
    _use_memory_disk()
    if HOST_VARIABLE not in os.environ:
        config.add_cleanup(ServiceHost().close)


def _use_memory_disk() -> None:
    """Put temporary files into memory where there is room: the brokers of a run make and remove some 40,000 small
    files, each of which cost a disk 2 ms.

    Not where nothing may be executed there, as in a container of Docker: a broker unpacks zstd with a library that it
    puts among its temporary files, and refuses such batches without it.
    """
    if "TMPDIR" in os.environ or not os.access(MEMORY_DISK, os.W_OK):
        return
    if os.statvfs(MEMORY_DISK).f_flag & os.ST_NOEXEC:
        return
    if shutil.disk_usage(MEMORY_DISK).free > MEMORY_DISK_BYTES:
        os.environ["TMPDIR"], tempfile.tempdir = MEMORY_DISK, None


@pytest.hookimpl(optionalhook=True)  # pytest-xdist's
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hand the tests out one by one, but the scenarios, and each of ONE_PROCESS_FILES, at once, and first of all."""
    from xdist.scheduler import LoadScopeScheduling  # noqa: PLC0415  only where it is installed

    class OneByOne(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            if file.startswith(SCENARIOS):
                return SCENARIOS
            return file if file.endswith(ONE_PROCESS_FILES) else nodeid

    return OneByOne(config, log)


@pytest.fixture(scope="module", params=EXECUTORS)
def executor(request: pytest.FixtureRequest) -> Iterator[None]:
    """The test runs by each executor of plans."""
    with use_executor(request.param):
        yield


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
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
def _shipped_files_built_once() -> Iterator[None]:
    with built_once():
        yield


@pytest.fixture(scope="session", autouse=True)
def _separate_state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Local copies of the reference tables do not pile up in the user's state folder; processes inherit this."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def bootstrap_servers() -> str:
    """The broker that tests use: the one that `TEST_BOOTSTRAP_SERVERS` names, else a local Kafka for the run."""
    return os.environ.get("TEST_BOOTSTRAP_SERVERS") or address_of("kafka")


@pytest.fixture(scope="session")
def registry_url() -> str:
    """A real schema registry for the run; a test's subjects have names of its own, or are its alone."""
    return address_of("registry")


@pytest.fixture
def topic_prefix() -> str:
    """A prefix for topics, groups and transactional ids that no other test, session or machine uses."""
    return f"test-{secrets.token_hex(4)}."
