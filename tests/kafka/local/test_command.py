"""`processor kafka` says where the broker is, and stops cleanly."""

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from confluent_kafka.admin import AdminClient

from processor.kafka.local.ports import free_ports

pytestmark = pytest.mark.kafka


@contextmanager
def _command(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """The command in its own process, which is killed at the end if it has not ended by itself."""
    argv = [sys.executable, "-m", "processor", "kafka", *arguments]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as command:
        try:
            yield command
        finally:
            command.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ready_and_stopped(tmp_path: Path, number: signal.Signals) -> None:
    """Its only line on stdout is where a ready broker listens; a signal stops it cleanly with 0."""
    port = free_ports(1)[0]
    with _command("--port", str(port), "--data", str(tmp_path)) as command:
        assert command.stdout is not None
        line = command.stdout.readline()
        with AdminClient({"bootstrap.servers": f"127.0.0.1:{port}", "log_level": 0}) as admin:
            brokers = admin.list_topics(timeout=10).brokers
        children = psutil.Process(command.pid).children(recursive=True)
        command.send_signal(number)
        rest, errors = command.communicate(timeout=20)

    assert f"bootstrap.servers=127.0.0.1:{port}\n" == line
    assert [1] == list(brokers)
    assert (0, "") == (command.returncode, rest)
    assert "Traceback" not in errors
    assert [] == [child for child in children if child.is_running()]
    assert "shut down completed" in (tmp_path / "broker.log").read_text()


def test_stopped_while_it_starts() -> None:
    """A signal before it is ready stops it with 0 as well, and nothing is left running."""
    with _command() as command:
        me = psutil.Process(command.pid)
        while not (children := me.children(recursive=True)):
            time.sleep(0.02)
        command.send_signal(signal.SIGTERM)
        out, errors = command.communicate(timeout=20)

    assert (0, "") == (command.returncode, out)
    assert "Traceback" not in errors
    _, left = psutil.wait_procs(children, timeout=20)  # the guard ends when it sees that its owner is gone
    assert [] == left


def test_a_free_port_is_found() -> None:
    """Without a port it takes a free one and prints it."""
    with _command() as command:
        assert command.stdout is not None
        line = command.stdout.readline()
        command.terminate()
        command.communicate(timeout=20)

    assert re.fullmatch(r"bootstrap\.servers=127\.0\.0\.1:\d+\n", line)


def test_port_taken() -> None:
    """A taken port ends it with 2, nothing on stdout, and a hint."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        _command("--port", str(listener.getsockname()[1])) as command,
    ):
        out, errors = command.communicate(timeout=60)

    assert (2, "") == (command.returncode, out)
    assert "cannot be used" in errors
    assert "hint: " in errors


def test_a_broker_that_is_killed_ends_the_command() -> None:
    """When the broker itself is killed, the command does not hang: exit 3."""
    with _command() as command:
        assert command.stdout is not None
        command.stdout.readline()
        java = next(child for child in psutil.Process(command.pid).children(recursive=True) if "java" in child.name())
        java.kill()
        _, errors = command.communicate(timeout=20)

    assert 3 == command.returncode
    assert "ended by itself" in errors
