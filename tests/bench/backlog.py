"""A backlog that was there before the engine: the memory it takes, and how long it goes without a commit.

`python -m tests.bench.backlog [--runs 3] [--only template holds text small] [--python PATH]`; starts a broker of its
own and removes all it wrote. Each run is `processor run --until-end` as a process of its own, over one partition with

- template: 10,000 events under one e-mail template of 100 KB,
- holds: 500 events of 1 MB, each a bulk of about 8,000 holds, under the shipped templates,
- text: 500 events of 1 MB, nearly all of it one comment, under the shipped templates,
- small: 20,000 repayments under the shipped templates, for the throughput.

A JSON line for each run: the process' peak of resident memory, the seconds from its start to the first commit, the
longest time between two commits as the group's position shows them (polled every 20 ms), the seconds of the whole
run and of the processor's CPU; then the spread. `--python` is an interpreter with another version of the processor, to
be compared with.
"""

import argparse
import os
import platform
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from processor.domain.output_topics import FixedOutput
from processor.domain.record import EventName
from processor.kafka.local.kafka import local_kafka
from processor.shipped import sample
from tests.bench.raw import print_line
from tests.support.installation import Installation, create_installation

LARGE_BYTES = 990_000
RUN_TIMEOUT_S = 900
POLL_INTERVAL_S = 0.02
ID = "00000000-0000-4000-8000-{:012}"

TEMPLATE = """
id = "statement"
version = 1
name = "statement"
type = "EMAIL"
event = "LOAN_REPAYMENT"
target = "LOANS"
recipient = "CLIENT"
subscription = "OPT_OUT"
content_type = "text/plain"
subject = "Statement"
body = '''{{ACCOUNT_ID}} {body}'''
"""


@dataclass(frozen=True, slots=True)
class Backlog:
    """`count` events, each like `event` with an id of its own; `body`: the only template's, else the shipped ones."""

    event: Mapping[str, Any]
    count: int
    body: str = ""


@dataclass(frozen=True, slots=True)
class RunFigures:
    """Of one run. `exit_code` is not 0 if it failed; then the others are of what it did before."""

    exit_code: int
    committed: int
    peak_mb: float
    first_commit_s: float
    longest_gap_s: float
    seconds: float
    cpu_s: float


def backlogs(installation: Installation) -> dict[str, Backlog]:
    """By name, as the head of this file has them."""
    repayment = sample(EventName("LOAN_REPAYMENT"))
    repayment["transaction"]["comment"] = ""
    bulk = sample(EventName("CARDS_AUTHORISATION_HOLD_IN_BULK_CREATED"))
    hold = bulk["holds"][0]

    def rows(count: int) -> list[dict[str, Any]]:
        return [{**hold, "encodedKey": f"{number:032x}"} for number in range(count)]

    two_rows, one_row = (
        installation.encode({**bulk, "eventId": ID.format(0), "holds": rows(count)})[0] for count in (2, 1)
    )
    row_bytes = len(two_rows) - len(one_row)
    comment = {**repayment["transaction"], "comment": "x" * LARGE_BYTES}
    return {
        "template": Backlog(repayment, 10_000, body="x" * 100_000),
        "holds": Backlog({**bulk, "holds": rows(LARGE_BYTES // row_bytes)}, 500),
        "text": Backlog({**repayment, "transaction": comment}, 500),
        "small": Backlog(repayment, 20_000),
    }


def produce_backlog(installation: Installation, backlog: Backlog) -> None:
    """Produce the events, to partition 0."""
    value, key = installation.encode({**backlog.event, "eventId": ID.format(0)})
    producer = Producer({"bootstrap.servers": installation.servers, "message.max.bytes": 1_048_588, "linger.ms": 5})
    for number in range(backlog.count):
        numbered = value.replace(ID.format(0).encode(), ID.format(number).encode())
        while True:
            try:
                producer.produce(installation.events, numbered, key, 0)
                break
            except BufferError:
                producer.poll(0.1)
    assert producer.flush(120) == 0


def run_once(installation: Installation, *, python: str, templates: Path | None) -> RunFigures:
    """Run the engine to the end of what is there, and measure it."""
    environment = {
        **installation.env(),
        "PROCESSOR_LOG__LEVEL": "warning",
        **({} if templates is None else {"PROCESSOR_TEMPLATES_DIR": str(templates)}),
    }
    # With read_uncommitted: the position of a group whose transaction is open is otherwise waited for.
    position_reader = Consumer(
        {
            "bootstrap.servers": installation.servers,
            "group.id": installation.settings.group_id,
            "isolation.level": "read_uncommitted",
        }
    )
    began, cpu_before_s = time.monotonic(), cpu_of_ended_children_s()
    engine = subprocess.Popen(
        [python, "-P", "-m", "processor", "run", "--until-end"], env=environment, stdout=subprocess.DEVNULL
    )
    peak_kb, committed, changed_at, first_s, gap_s = 0, 0, 0.0, 0.0, 0.0
    try:
        while engine.poll() is None:
            assert time.monotonic() - began < RUN_TIMEOUT_S, f"at {committed} after {RUN_TIMEOUT_S} s"
            peak_kb = max(peak_kb, peak_memory_kb(engine.pid))
            position = position_of(position_reader, installation)
            now = time.monotonic()
            if position > committed:
                if committed:
                    gap_s = max(gap_s, now - changed_at)
                else:
                    first_s = now - began
                committed, changed_at = position, now
            time.sleep(POLL_INTERVAL_S)
    finally:
        engine.kill()
        engine.wait()
        position_reader.close()
    seconds = time.monotonic() - began
    cpu_s = cpu_of_ended_children_s() - cpu_before_s
    numbers = (round(number, 2) for number in (peak_kb / 1000, first_s, gap_s, seconds, cpu_s))
    return RunFigures(engine.returncode, committed, *numbers)


def peak_memory_kb(pid: int) -> int:
    """The peak of a process' resident memory so far, in kB; 0 when it is gone."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found[1]) if found else 0


def cpu_of_ended_children_s() -> float:
    """Seconds, of all that were waited for; the broker goes on."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def position_of(position_reader: Consumer, installation: Installation) -> int:
    """The group's position; 0 where there is none, or the broker does not respond."""
    try:
        (at,) = position_reader.committed([TopicPartition(installation.events, 0)], 2)
    except KafkaException:
        return 0
    return max(0, at.offset)


def main() -> None:
    """Print one JSON line for each run, then the spread."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ("template", "holds", "text", "small")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--python", default=sys.executable)
    args = parser.parse_args()
    print_line({"machine": f"{os.cpu_count()} cores, {platform.machine()}", "python": platform.python_version()})
    with local_kafka() as kafka, tempfile.TemporaryDirectory() as folder:
        for name in args.only:
            runs = []
            for number in range(args.runs):
                installation = create_installation(kafka.bootstrap_servers, f"backlog-{name}{number}.")
                backlog = backlogs(installation)[name]
                templates = Path(folder) / name if backlog.body else None
                if templates is not None:
                    templates.mkdir(exist_ok=True)
                    (templates / "statement.toml").write_text(TEMPLATE.format(body=backlog.body))
                produce_backlog(installation, backlog)
                figures = run_once(installation, python=args.python, templates=templates)
                runs.append(asdict(figures))
                print_line({"backlog": name, "run": number, **asdict(figures)})
                installation.admin().delete_topics(
                    [installation.events, installation.settings.topic(FixedOutput.MESSAGES)]
                )
            spread = {field: [min(run[field] for run in runs), max(run[field] for run in runs)] for field in runs[0]}
            print_line({"backlog": name, "runs": len(runs), "spread": spread})


if __name__ == "__main__":
    main()
