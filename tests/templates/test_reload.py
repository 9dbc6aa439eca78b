"""Templates that change under a running engine, on a real broker: taken whole between two batches, or not at all."""

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


def made_with(servers: str, prefix: str, directory: Path, *, partitions: int = 1) -> Installation:
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

    def __init__(self, made: Installation, port: int) -> None:
        self.made = made
        self._port = port

    def ask(self, path: str) -> tuple[int, str]:
        """Status and text of an answer."""
        try:
            with urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            return error.code, error.read().decode()

    def reasons(self) -> list[str]:
        """What /ready says, if it says yes."""
        code, text = self.ask("/ready")
        reasons: list[str] = json.loads(text)["reasons"]
        return reasons if code == 200 else ["NOT READY", *reasons]

    def set_version(self) -> str:
        """The version of the set in use, as metrics tell it."""
        _, text = self.ask("/metrics")
        (line,) = [line for line in text.splitlines() if line.startswith("processor_template_set_info{")]
        return line.partition('"')[2].partition('"')[0]


@contextmanager
def running(made: Installation) -> Iterator[Live]:
    """`processor run` with these settings; stopped by SIGTERM, which has to end with 0."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PROCESSOR_")},
        "PROCESSOR_TENANT": TENANT,
        "PROCESSOR_KAFKA__BOOTSTRAP_SERVERS": made.servers,
        "PROCESSOR_TOPICS__PREFIX": made.settings.topics.prefix,
        "PROCESSOR_TEMPLATES_DIR": str(made.settings.templates_dir),
        "PROCESSOR_OUTPUT__FORMAT": "json",
        "PROCESSOR_HTTP__PORT": "0",
        "PROCESSOR_LOG__LEVEL": "error",
    }
    command = [sys.executable, "-m", "processor", "run"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as engine:
        assert engine.stdout is not None
        live = Live(made, int(engine.stdout.readline().rpartition(":")[2]))
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


def digest(directory: Path, made: Installation) -> str:
    """The version of the set that the directory holds."""
    return require_usable(read_templates(directory, tenant=TENANT, schemas=made.schemas)).digest


def test_a_change_is_taken_and_a_broken_one_is_not(bootstrap_servers: str, topic_prefix: str, tmp_path: Path) -> None:
    """A new version is in the statuses of what comes after it; a broken one changes nothing, and /ready says why."""
    directory = tmp_path / "templates"
    made = made_with(bootstrap_servers, topic_prefix, directory)
    first = digest(directory, made)
    with running(made) as live:
        assert first == live.set_version()
        made.produce_events([repayment(0)])
        wait(lambda: made.committed() == [1])
        write(directory, version=2)
        second = digest(directory, made)
        wait(lambda: live.set_version() == second)
        made.produce_events([repayment(1)])
        wait(lambda: made.committed() == [2])

        write(directory, version=3, more='colour = "red"\n')
        wait(live.reasons)
        (reason,) = live.reasons()
        assert reason.startswith("templates not reloaded: templates in ")
        assert "unknown field `colour`" in reason
        assert "processor_template_reload_successful 0.0" in live.ask("/metrics")[1]
        made.produce_events([repayment(2)])
        wait(lambda: made.committed() == [3])

        write(directory, version=2)
        wait(lambda: live.reasons() == [])
        assert second == live.set_version()

    assert [(1, first), (2, second), (2, second)] == [
        (status["templateVersion"], status["setVersion"]) for status in made.read_statuses()
    ]
    assert [first, second] == made.template_set_keys()


def test_a_set_is_written_once(bootstrap_servers: str, topic_prefix: str) -> None:
    """With the first outcome that it makes; a restart with the same templates does not write it again."""
    made = create_installation(bootstrap_servers, topic_prefix)
    made.run()
    assert [] == made.template_set_keys()
    made.produce_events([repayment(0)])
    made.run()
    made.produce_events([repayment(1)])
    made.run()

    assert [made.templates.digest] == made.template_set_keys()
    assert 2 == len({status["eventId"] for status in made.read_statuses()})


def test_a_stream_without_its_topic_is_refused(bootstrap_servers: str, topic_prefix: str, tmp_path: Path) -> None:
    """A reload that needs a topic is refused with what to do; once the topic is there it is taken by itself."""
    directory = tmp_path / "templates"
    made = made_with(bootstrap_servers, topic_prefix, directory)
    with running(made) as live:
        (directory / "fees.toml").write_text(FEES)
        wait(live.reasons)
        (reason,) = live.reasons()
        assert "topics are missing: " in reason
        assert "`processor topics --create` creates what is missing" in reason

        templates = require_usable(read_templates(directory, tenant=TENANT, schemas=made.schemas))
        create_topics(made.settings, stream_events=templates.stream_events())
        wait(lambda: live.reasons() == [])
        assert templates.digest == live.set_version()
        made.produce_events([sample(EventName("FEE_APPLIED"))])
        wait(lambda: made.committed() == [1])

    assert ["EVENT_STREAM"] == [status["type"] for status in made.read_statuses()]
    assert 1 == len(made.read(made.settings.stream_topic(EventName("FEE_APPLIED"))))


def test_reloads_at_load(bootstrap_servers: str, topic_prefix: str, tmp_path: Path) -> None:
    """While events keep coming and the template changes again and again, each event has its one message, and the set of
    a partition's statuses only ever changes to the next one."""
    directory = tmp_path / "templates"
    made = made_with(bootstrap_servers, topic_prefix, directory, partitions=2)
    versions = [1]
    told = 0
    with running(made) as live:
        for version in (2, 3, 4):
            write(directory, version=version)
            wanted = digest(directory, made)
            taken = False
            while not taken:
                made.produce_events([repayment(told + number) for number in range(50)], partition=told % 2)
                told += 50
                taken = live.set_version() == wanted
                assert told < 100_000
            versions.append(version)
        wait(lambda: sum(made.committed([0, 1])) == told)
    by_partition = [made.read_statuses(partition) for partition in (0, 1)]

    counts = Counter(status["eventId"] for statuses in by_partition for status in statuses)
    assert {1} == set(counts.values())
    assert told == len(counts)
    for statuses in by_partition:
        seen = [status["templateVersion"] for status in statuses]
        assert sorted(seen) == seen
    assert set(versions) >= {status["templateVersion"] for statuses in by_partition for status in statuses} > {1, 2}


def test_stamps(tmp_path: Path) -> None:
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
