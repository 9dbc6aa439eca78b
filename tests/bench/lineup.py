"""The contenders, a row for each, and how one is started."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from processor.native import NATIVE, WHY_NOT_NATIVE
from processor.wire.reader_schemas import Schemas
from tests.bench.compare_outputs import SCHEMAS, Kind
from tests.bench.contenders.build import find
from tests.bench.installations import output_topics
from tests.bench.load import EVENT
from tests.support.builders import TENANT
from tests.support.installation import Installation

OURS: Final = "processor"
BATCH_RECORDS: Final = 10_000
"""Most records of a poll or a transaction of the others; ours has the same by default."""


@dataclass(frozen=True, slots=True, eq=False)
class Contender:
    """A program that maps the load, or copies it.

    `program` is `processor`, with `workers` and `environment`, or one of `tests/bench/contenders`. The window of its
    throughput begins `warm_s` after its first commit. What copies has outputs of the real ones' lengths.
    """

    name: str
    program: str
    workers: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)
    warm_s: float = 5.0
    copies: bool = False
    has_throughput: bool = True


CONTENDERS: Final = (
    Contender("copied", "copied", copies=True),
    Contender("ours-native-1", OURS, environment={"PROCESSOR_PLAN": "native"}),
    Contender("ours-native-2", OURS, workers=2, environment={"PROCESSOR_PLAN": "native"}),
    Contender("ours-plain-1", OURS, environment={"PROCESSOR_PLAN": "plain"}),
    Contender("ours-plain-2", OURS, workers=2, environment={"PROCESSOR_PLAN": "plain"}),
    Contender("ours-reference-1", OURS, environment={"PROCESSOR_PLAN": "off"}),
    Contender("ours-reference-2", OURS, workers=2, environment={"PROCESSOR_PLAN": "off"}),
    Contender("kafka-streams", "kafka-streams", environment={"BENCH_COMMIT_MS": "100"}, warm_s=20.0),
    Contender(
        "kafka-streams-10ms",
        "kafka-streams",
        environment={"BENCH_COMMIT_MS": "10"},
        warm_s=20.0,
        has_throughput=False,
    ),
    Contender("go", "go"),
    Contender("quix", "quix"),
    Contender(
        "no-transactions", "copied", environment={"BENCH_TRANSACTIONS": "off"}, copies=True, has_throughput=False
    ),
)


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a contender lets records gather: `fetch_wait_ms` at the broker, `commit_ms` between Quix's commits;
    ours has its defaults, and Kafka Streams' commits are those of its row."""

    fetch_wait_ms: int
    commit_ms: int


BULK: Final = Pace(fetch_wait_ms=50, commit_ms=100)
PROMPT: Final = Pace(fetch_wait_ms=10, commit_ms=20)  # franz-go takes no less than 10


def find_contenders(names: Sequence[str], *, build: bool) -> tuple[dict[Contender, Sequence[str]], dict[str, str]]:
    """The command lines of those that are here, and why the others are not. To build one takes minutes, once."""
    commands: dict[Contender, Sequence[str]] = {}
    missing: dict[str, str] = {}
    for contender in CONTENDERS:
        if contender.name not in names:
            continue
        if contender.environment.get("PROCESSOR_PLAN") == "native" and NATIVE is None:
            missing[contender.name] = f"the native part was not built: {WHY_NOT_NATIVE}"
            continue
        command = _run_command(contender.workers) if contender.program == OURS else find(contender.program, build=build)
        if isinstance(command, str):
            missing[contender.name] = command
        else:
            commands[contender] = command
    return commands, missing


def _run_command(workers: int) -> Sequence[str]:
    options = () if workers == 1 else ("--workers", str(workers))
    return (sys.executable, "-P", "-m", "processor", "run", *options)


def write_schemas(folder: Path, schemas: Schemas) -> None:
    """Write the schemas that contenders read, each self-contained."""
    texts = {
        "event": schemas.by_event[EVENT].text,
        "message": schemas.outputs[SCHEMAS[Kind.MESSAGE]].text,
        "status": schemas.outputs[SCHEMAS[Kind.STATUS]].text,
        "stream": schemas.outputs[SCHEMAS[Kind.STREAM]].text,
    }
    for name, text in texts.items():
        (folder / f"{name}.avsc").write_text(text)


@dataclass(frozen=True, slots=True)
class PreparedRun:
    """All that starting a contender once takes. `schemas` is a folder; `sizes` are the lengths of what copies."""

    contender: Contender
    command: Sequence[str]
    installation: Installation
    schemas: Path
    pace: Pace
    sizes: Sequence[int]
    log: Path


def environment(run: PreparedRun) -> dict[str, str]:
    """The environment of a contender's process."""
    contender, installation, pace = run.contender, run.installation, run.pace
    if contender.program == OURS:
        return {**installation.env(), **contender.environment}
    topics, schemas = output_topics(installation), installation.schemas
    ids = {kind: str(schemas.outputs[SCHEMAS[kind]].id) for kind in Kind}
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PROCESSOR_", "BENCH_"))},
        "BENCH_BOOTSTRAP": installation.servers,
        "BENCH_EVENTS": installation.events,
        "BENCH_GROUP": installation.group,
        "BENCH_MESSAGES": topics[Kind.MESSAGE],
        "BENCH_STATUS": topics[Kind.STATUS],
        "BENCH_STREAM": topics[Kind.STREAM],
        "BENCH_SCHEMAS": str(run.schemas),
        "BENCH_MESSAGE_ID": ids[Kind.MESSAGE],
        "BENCH_STATUS_ID": ids[Kind.STATUS],
        "BENCH_STREAM_ID": ids[Kind.STREAM],
        "BENCH_TENANT": TENANT,
        "BENCH_SET_VERSION": installation.templates.digest,
        "BENCH_BATCH": str(BATCH_RECORDS),
        "BENCH_FETCH_WAIT_MS": str(pace.fetch_wait_ms),
        "BENCH_COMMIT_MS": str(pace.commit_ms),
        "BENCH_SIZES": ",".join(map(str, run.sizes)),
        **contender.environment,
    }
