"""Templates that change under a running engine, on a real broker: loaded whole between two batches, or not at all."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from processor.domain.record import EventName
from processor.kafka.topic_admin import create_topics
from processor.shipped import sample
from processor.templates.load import SHIPPED, read_templates, require_usable
from processor.templates.reload import fingerprint
from tests.support.builders import TENANT
from tests.support.events import repayment
from tests.support.installation import Installation, create_installation

NAME = "loan-repayment-email.toml"
FEES = """\
id = "fees"
version = 1
name = "Fees"
type = "EVENT_STREAM"
event = "FEE_APPLIED"
target = "LOANS"
content_type = "application/json"
subscription = "OPT_OUT"
body = '{"account": "{ACCOUNT_ID}"}'
"""
pytestmark = pytest.mark.kafka


def create_with(servers: str, prefix: str, directory: Path, *, partitions: int = 1) -> Installation:
    """An installation with one template, in a directory of its own."""
    directory.mkdir()
    write(directory, version=1)
    return create_installation(servers, prefix, partitions=partitions, templates_dir=directory)


def write(directory: Path, *, version: int, more: str = "") -> None:
    """The shipped e-mail without its samples, as another version."""
    text = (SHIPPED / NAME).read_text().partition("[[sample]]")[0].replace("version = 1", f"version = {version}")
    (directory / NAME).write_text(text + more)


class Live:
    """A running engine, as its operator sees it."""

    def __init__(self, installation: Installation, port: int) -> None:
        self.installation = installation
        self._port = port

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of the response."""
        try:
            with urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=10) as response:
                return response.status, response.read().decode()
        except HTTPError as error:
            return error.code, error.read().decode()

    def reasons(self) -> list[str]:
        """What /ready says, if it says yes."""
        code, text = self.get("/ready")
        reasons: list[str] = json.loads(text)["reasons"]
        return reasons if code == 200 else ["NOT READY", *reasons]

    def set_version(self) -> str:
        """The version of the set in use, as metrics show it."""
        _, text = self.get("/metrics")
        (line,) = [line for line in text.splitlines() if line.startswith("processor_template_set_info{")]
        return line.partition('"')[2].partition('"')[0]


@contextmanager
def running(installation: Installation) -> Iterator[Live]:
    """`processor run` with these settings; stopped by SIGTERM, which has to end with 0."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PROCESSOR_")},
        "PROCESSOR_TENANT": TENANT,
        "PROCESSOR_KAFKA__BOOTSTRAP_SERVERS": installation.servers,
        "PROCESSOR_TOPICS__PREFIX": installation.settings.topics.prefix,
        "PROCESSOR_TEMPLATES_DIR": str(installation.settings.templates_dir),
        "PROCESSOR_OUTPUT__FORMAT": "json",
        "PROCESSOR_HTTP__PORT": "0",
        "PROCESSOR_LOG__LEVEL": "error",
    }
    command = [sys.executable, "-m", "processor", "run"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as engine:
        assert engine.stdout is not None
        live = Live(installation, int(engine.stdout.readline().rpartition(":")[2]))
        try:
            wait(lambda: live.reasons() == [])
            yield live
        finally:
            engine.send_signal(signal.SIGTERM)
            code = engine.wait(30)
    assert 0 == code


def wait(condition: Callable[[], object], *, patience_s: float = 60) -> None:
    """Until it is true."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.1)


def digest(directory: Path, installation: Installation) -> str:
    """The version of the set that the directory holds."""
    return require_usable(read_templates(directory, tenant=TENANT, schemas=installation.schemas)).digest


def test_a_change_is_loaded_and_a_broken_one_is_not(bootstrap_servers: str, topic_prefix: str, tmp_path: Path) -> None:
    """A new version is in the statuses of what comes after it; a broken one changes nothing, and /ready says why."""
    directory = tmp_path / "templates"
    installation = create_with(bootstrap_servers, topic_prefix, directory)
    first = digest(directory, installation)
    with running(installation) as live:
        assert first == live.set_version()
        installation.produce_events([repayment(0)])
        wait(lambda: installation.committed() == [1])
        write(directory, version=2)
        second = digest(directory, installation)
        wait(lambda: live.set_version() == second)
        installation.produce_events([repayment(1)])
        wait(lambda: installation.committed() == [2])

        write(directory, version=3, more='colour = "red"\n')
        wait(live.reasons)
        (reason,) = live.reasons()
        assert reason.startswith("templates not reloaded: templates in ")
        assert "unknown field `colour`" in reason
        assert "processor_template_reload_successful 0.0" in live.get("/metrics")[1]
        installation.produce_events([repayment(2)])
        wait(lambda: installation.committed() == [3])

        write(directory, version=2)
        wait(lambda: live.reasons() == [])
        assert second == live.set_version()

    assert [(1, first), (2, second), (2, second)] == [
        (status["templateVersion"], status["setVersion"]) for status in installation.read_statuses()
    ]
    assert [first, second] == installation.template_set_keys()


def test_a_set_is_written_once(bootstrap_servers: str, topic_prefix: str) -> None:
    """With the first outcome that it makes; a restart with the same templates does not write it again."""
    installation = create_installation(bootstrap_servers, topic_prefix)
    installation.run()
    assert [] == installation.template_set_keys()
    installation.produce_events([repayment(0)])
    installation.run()
    installation.produce_events([repayment(1)])
    installation.run()

    assert [installation.templates.digest] == installation.template_set_keys()
    assert 2 == len({status["eventId"] for status in installation.read_statuses()})


def test_a_stream_without_its_topic_is_refused(bootstrap_servers: str, topic_prefix: str, tmp_path: Path) -> None:
    """A reload that needs a topic is refused with what to do; once the topic is there it is taken by itself."""
    directory = tmp_path / "templates"
    installation = create_with(bootstrap_servers, topic_prefix, directory)
    with running(installation) as live:
        (directory / "fees.toml").write_text(FEES)
        wait(live.reasons)
        (reason,) = live.reasons()
        assert "topics are missing: " in reason
        assert "`processor topics --create` creates what is missing" in reason

        templates = require_usable(read_templates(directory, tenant=TENANT, schemas=installation.schemas))
        create_topics(installation.settings, stream_events=templates.stream_events())
        wait(lambda: live.reasons() == [])
        assert templates.digest == live.set_version()
        installation.produce_events([sample(EventName("FEE_APPLIED"))])
        wait(lambda: installation.committed() == [1])

    assert ["EVENT_STREAM"] == [status["type"] for status in installation.read_statuses()]
    assert 1 == len(installation.read(installation.settings.stream_topic(EventName("FEE_APPLIED"))))


def test_reloads_under_load(bootstrap_servers: str, topic_prefix: str, tmp_path: Path) -> None:
    """While events keep coming and the template changes again and again, each event has its one message, and the set of
    a partition's statuses only ever changes to the next one."""
    directory = tmp_path / "templates"
    installation = create_with(bootstrap_servers, topic_prefix, directory, partitions=2)
    versions = [1]
    produced = 0
    with running(installation) as live:
        for version in (2, 3, 4):
            write(directory, version=version)
            expected_version = digest(directory, installation)
            is_used = False
            while not is_used:
                installation.produce_events(
                    [repayment(produced + number) for number in range(50)], partition=produced % 2
                )
                produced += 50
                is_used = live.set_version() == expected_version
                assert produced < 100_000
            versions.append(version)
        wait(lambda: sum(installation.committed([0, 1])) == produced)
    by_partition = [installation.read_statuses(partition) for partition in (0, 1)]

    counts = Counter(status["eventId"] for statuses in by_partition for status in statuses)
    assert {1} == set(counts.values())
    assert produced == len(counts)
    for statuses in by_partition:
        seen = [status["templateVersion"] for status in statuses]
        assert sorted(seen) == seen
    assert set(versions) >= {status["templateVersion"] for statuses in by_partition for status in statuses} > {1, 2}


def test_fingerprints(tmp_path: Path) -> None:
    """Content, a new file, a file in a folder, a file swapped for another of the same size: each is another stamp."""
    stamps = [fingerprint(tmp_path)]
    (tmp_path / "a.toml").write_text("a")
    stamps.append(fingerprint(tmp_path))
    (tmp_path / "a.toml").write_text("ab")
    stamps.append(fingerprint(tmp_path))
    (tmp_path / "bodies").mkdir()
    (tmp_path / "bodies" / "b.html").write_text("b")
    stamps.append(fingerprint(tmp_path))
    (tmp_path / "c").write_text("xy")
    (tmp_path / "c").replace(tmp_path / "a.toml")
    stamps.append(fingerprint(tmp_path))
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "a.toml").unlink()
    stamps.append(fingerprint(tmp_path))

    assert len(stamps) == len(set(stamps))
    assert frozenset() == fingerprint(tmp_path / "gone") == fingerprint(None)
