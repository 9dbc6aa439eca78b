"""`python -m tests.soak.redrive`: dead letters of four causes, corrected one by one; 1 for a finding.

On a broker of its own. Unknown schemas, a failing template, events over the limit, invalid ones that a person edits:
after each correction the dry run has to show exactly the letters of that cause, and the redrive to make exactly their
messages, whatever it is killed by. What must be there is said by the events alone: each gets one message of each
template, under its encodedKey.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from confluent_kafka import Producer

from processor.kafka.local.kafka import local_kafka
from tests.soak.expected import encoded_key_of
from tests.soak.past_checker import Author
from tests.soak.past_kills import TRANSACTION_STEPS, Attempt, PlannedKill
from tests.soak.registry import LATE_ID, Registry, avro
from tests.support.builders import SMS_HEAD, TENANT
from tests.support.clients import logged
from tests.support.events import repayment
from tests.support.installation import create_installation

SMALL_BYTES: Final = 4_096  # the limit of the first run
LARGE_TEXT: Final = "x" * 6_000
STRICT: Final = SMS_HEAD + 'strict = true\nbody = "Hello {CF:CLIENT:NICKNAME}"\n'
CORRECTED: Final = STRICT.replace("version = 1", "version = 2").replace("strict = true\n", "")
PAID: Final = SMS_HEAD.replace('"note"', '"paid"').replace('"Note"', '"Paid"') + 'body = "Paid {TRANSACTION_AMOUNT}"\n'
TEMPLATES: Final = ("note", "paid")
COMMAND_TIMEOUT_S: Final = 300.0


class Cause(StrEnum):
    """Why a record is a dead letter, by the reason that selects it."""

    UNKNOWN_SCHEMA = "UNKNOWN_SCHEMA"
    TEMPLATE = "MISSING_VALUE"
    OVERSIZED = "EVENT_TOO_LARGE"
    INVALID = "INVALID_EVENT"


@dataclass
class RedriveResult:
    """What was seen."""

    findings: list[str] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    seconds: dict[Cause, float] = field(default_factory=dict)
    counts: dict[Cause, int] = field(default_factory=dict)


class RedriveSoak:
    """One installation, its dead letters, and what is done to them."""

    def __init__(self, servers: str, prefix: str, folder: Path, *, letters: int, kills: int, seed: int) -> None:
        self._folder = folder
        self._rng = random.Random(seed)
        self._kills = [PlannedKill(step) for step in self._rng.choices(TRANSACTION_STEPS, k=kills)]
        self.registry = Registry()
        self._templates = folder / "templates"
        self._templates.mkdir()
        self._write_templates(STRICT)
        made = create_installation(servers, prefix, templates_dir=self._templates, max_rejected_ratio=1)
        self._installation = made.with_env(
            {
                "PROCESSOR_TEMPLATES_DIR": str(self._templates),
                "PROCESSOR_STATE_DIR": str(folder / "state"),
                "PROCESSOR_MAX_REJECTED_RATIO": "1",
                "PROCESSOR_OUTPUT__FORMAT": "json",
                "PROCESSOR_CIRCUIT_BREAKER": "off",
                **self.registry.settings,
            }
        )
        self._causes: list[tuple[Cause, dict[str, Any]]] = [
            (cause, _event(cause, number)) for number, cause in enumerate(self._rng.choices(list(Cause), k=letters))
        ]
        self.result = RedriveResult(counts=dict(Counter(cause for cause, _ in self._causes)))

    def run(self, log: Callable[[str], None]) -> RedriveResult:
        """All of it. Blocks."""
        with self.registry:
            self._produce()
            self._command("run", "--until-end", env={"PROCESSOR_MAX_EVENT_BYTES": str(SMALL_BYTES)})
            log(f"mapped {len(self._causes)} events, each a dead letter: {self.result.counts}")
            self._expect_created(self._of(Cause.TEMPLATE, "paid"), "after run")
            for cause in Cause:
                self._correct(cause)
                self._redrive(cause, log)
            self._check_the_end()
        return self.result

    def _produce(self) -> None:
        producer = Producer(logged({"bootstrap.servers": self._installation.servers, "linger.ms": 5}))
        for cause, event in self._causes:
            key = event["account"]["encodedKey"]
            headers: Sequence[tuple[str, bytes]] = ()
            if cause is Cause.UNKNOWN_SCHEMA:
                value = b"\x00" + LATE_ID.to_bytes(4, "big") + avro(event)
            else:
                value, headers = json.dumps(event).encode(), [("content-type", b"application/json")]
                if cause is Cause.INVALID:
                    value = value.replace(event["client"]["encodedKey"].encode(), b"no key")
            producer.produce(self._installation.events, value, key, 0, headers=list(headers))
        assert producer.flush(60) == 0

    def _write_templates(self, note: str) -> None:
        (self._templates / "note.toml").write_text(note)
        (self._templates / "paid.toml").write_text(PAID)

    def _correct(self, cause: Cause) -> None:
        match cause:
            case Cause.UNKNOWN_SCHEMA:
                self.registry.register(LATE_ID)
            case Cause.TEMPLATE:
                self._write_templates(CORRECTED)
            case Cause.OVERSIZED:
                pass  # redrive has the limit's default
            case Cause.INVALID:
                self._edit()

    def _edit(self) -> None:
        file = self._folder / "exported.jsonl"
        self._command("dead-letters", "--reason", Cause.INVALID, "--export", str(file), "--unmasked", codes=(1,))
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        for line in lines:
            event = self._causes[line["position"]["offset"]][1]
            line["value"]["client"]["encodedKey"] = event["client"]["encodedKey"]
        self._edited.write_text("".join(json.dumps(line) + "\n" for line in lines))

    @property
    def _edited(self) -> Path:
        return self._folder / "edited.jsonl"

    def _redrive(self, cause: Cause, log: Callable[[str], None]) -> None:
        """The dry run shows this cause's letters as the only ones that pass; the redrive makes their messages."""
        before, expected = self._created(), self._expected(cause)
        arguments = ["redrive", *(["--edited", str(self._edited)] if cause is Cause.INVALID else ["--reason", cause])]
        shown = json.loads(self._command(*arguments, "--json", codes=(1,)))["partitions"][0]
        if (shown["passing"], shown["failing"]) != (self.result.counts[cause], 0):
            self._find(f"{cause}: the dry run shows {shown['passing']} passing and {shown['failing']} failing")
        began = time.monotonic()
        self._attempt_killed(cause, [*arguments, "--yes"])
        self._command(*arguments, "--yes")
        self.result.seconds[cause] = time.monotonic() - began
        self._expect_created(before + expected, f"after {cause}")
        log(f"{cause}: {self.result.counts[cause]} redriven in {self.result.seconds[cause]:.1f} s, kills included")

    def _attempt_killed(self, cause: Cause, arguments: Sequence[str]) -> None:
        """Kill the redrive at its share of the steps; the rest of the letters is for the command that follows."""
        share = -(-len(self._kills) // len(Cause))
        kills, self._kills = self._kills[:share], self._kills[share:]
        for kill in kills:
            attempt = Attempt(
                self._installation, arguments, {}, folder=self._folder, name=f"{cause}-{self.result.kills.total()}"
            )
            done = attempt.run(kill, author=Author.SKIPPED, rng=self._rng, startup_s=5.0)
            if isinstance(done, str):
                self._find(f"{cause}: {done}")
            else:
                self.result.kills[done.label] += 1

    def _check_the_end(self) -> None:
        """Nothing is open, a further redrive does nothing, and each message has the key of its event."""
        counts = json.loads(self._command("dead-letters", "--state", "all", "--json"))
        if counts["open"] or counts["parked"] or counts["done"] != len(self._causes):
            self._find(f"in the end: {counts['open']} open, {counts['parked']} parked, {counts['done']} done")
        before = self._created()
        self._command("redrive", "--yes")
        self._expect_created(before, "after one more redrive")
        keys = {
            encoded_key_of(TENANT, event["eventId"], template, event["client"]["encodedKey"])
            for _, event in self._causes
            for template in TEMPLATES
        }
        if keys != {status["encodedKey"] for status in self._installation.read_statuses()}:
            self._find("the keys of the messages are not those of the events")

    def _expected(self, cause: Cause) -> Counter[tuple[int, str]]:
        return self._of(cause, "note") + (Counter() if cause is Cause.TEMPLATE else self._of(cause, "paid"))

    def _of(self, cause: Cause, template: str) -> Counter[tuple[int, str]]:
        return Counter((offset, template) for offset, (its_cause, _) in enumerate(self._causes) if its_cause is cause)

    def _created(self) -> Counter[tuple[int, str]]:
        return Counter(
            (status["source"]["offset"], status["templateId"])
            for status in self._installation.read_statuses()
            if status["sequence"] == 1
        )

    def _expect_created(self, expected: Mapping[tuple[int, str], int], when: str) -> None:
        created = self._created()
        for pair in sorted({*created, *expected}):
            if created[pair] != expected.get(pair, 0):
                self._find(
                    f"{when}: offset and template {pair} has {created[pair]} messages, not {expected.get(pair, 0)}"
                )

    def _command(self, *arguments: str, codes: Sequence[int] = (0,), env: Mapping[str, str] | None = None) -> str:
        done = self._installation.with_env(env or {}).command(*arguments, timeout_s=COMMAND_TIMEOUT_S)
        if done.returncode not in codes:
            self._find(f"`processor {' '.join(arguments)}` ended with {done.returncode}: {done.stderr[-500:]}")
        return done.stdout

    def _find(self, finding: str) -> None:
        self.result.findings.append(finding)


def _event(cause: Cause, number: int) -> dict[str, Any]:
    """An event that becomes a dead letter for this cause alone."""
    event = repayment(number)
    event["tenant"] = TENANT
    event["customFields"] = {} if cause is Cause.TEMPLATE else {"CLIENT:NICKNAME": "Nes"}
    if cause is Cause.OVERSIZED:
        event["customFields"]["LOAN:NOTE"] = LARGE_TEXT
    return event


def lines_of(result: RedriveResult) -> Iterator[str]:
    """What was seen, for people."""
    for cause, count in sorted(result.counts.items()):
        yield f"{cause:<20}{count:>8} dead letters{result.seconds.get(cause, 0.0):>10.1f} s"
    yield f"{result.kills.total()} kills: {dict(sorted(result.kills.items()))}; {len(result.findings)} findings"
    yield from result.findings[:20]


def main() -> int:
    """Run it once, print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.redrive", description=__doc__)
    parser.add_argument("--letters", type=int, default=1_000)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=None)
    args = parser.parse_args()
    seed = int(time.time()) if args.seed is None else args.seed
    folder = Path(tempfile.mkdtemp(prefix="soak-redrive-"))

    def log(text: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)  # noqa: T201

    log(f"seed {seed}, logs in {folder}")
    with local_kafka() as kafka:
        soak = RedriveSoak(
            kafka.bootstrap_servers, "redrive.", folder, letters=args.letters, kills=args.kills, seed=seed
        )
        result = soak.run(log)
    print("\n".join(lines_of(result)))  # noqa: T201
    return 1 if result.findings or result.kills.total() < args.kills else 0


if __name__ == "__main__":
    sys.exit(main())
