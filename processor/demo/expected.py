"""What must come out of a list of events, told from the events and the template files alone; and whether it did.

Independent of the mapping on purpose: it reads the templates' files itself and knows no more of them than who is told
of what. The demo holds what readers saw against this, so a fault of the mapping cannot hide itself.
"""

import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from processor.domain.ids import eid, encoded_key
from processor.domain.record import TemplateId
from processor.errors import InternalError

Json = Mapping[str, Any]

_FORESEEN: Final = frozenset(  # what a template file may say without changing how many messages there are
    ("id", "key", "version", "name", "subject", "body", "body_file", "content_type", "category", "default_locale")
) | {
    "locale",
    "sample",
    "ordered",
    "webhook",
    "attachment",
    "type",
    "event",
    "target",
    "recipient",
    "recipient_role",
    "recipient_field",
}
_JUDGED: Final = frozenset(("active", "subscription"))
_NOTIFIED: Final = frozenset(("EMAIL", "SMS"))
_WITHOUT_RECIPIENT: Final = frozenset(("EVENT_STREAM", "WEB_HOOK"))


@dataclass(frozen=True, slots=True)
class Rule:
    """A template, as far as it decides whether an event makes a message."""

    id: TemplateId
    channel: str
    events: tuple[str, ...]
    target: str
    recipient: str | None
    role: str | None
    active: bool
    opt_in: bool

    @property
    def is_stream(self) -> bool:
        """Whether its events need a stream's topic."""
        return self.active and self.channel == "EVENT_STREAM"

    def recipient_key(self, event: Json) -> str | None:
        """The encodedKey of whom a message of `event` is for, empty where the channel has none; None: no message."""
        account, client, group = event.get("account"), event.get("client"), event.get("group")
        there = {
            "LOANS": account and account["kind"] == "LOAN",
            "SAVINGS": account and account["kind"] == "DEPOSIT",
            "CLIENT": client,
            "GROUP": group,
        }
        if not self.active or not there.get(self.target) or self.opt_in:
            return None  # nobody has opted in: there are no subscriptions in a demo
        if self.channel in _WITHOUT_RECIPIENT:
            return ""
        somebody: Json | None
        match self.recipient:
            case "CLIENT":
                somebody = client
            case "GROUP":
                somebody = group
            case "GROUP_ROLE":
                members = (group or {}).get("members", [])
                wanted = str(self.role).casefold()
                somebody = next((one["client"] for one in members if one.get("role", "").casefold() == wanted), None)
            case "CREDIT_OFFICER":
                officers = (one.get("creditOfficer") for one in (account, client, group) if one)
                somebody = next((officer for officer in officers if officer), None)
            case _:  # CUSTOM_FIELD: the holder, by an address of its own
                somebody = client or group
        return str(somebody["encodedKey"]) if somebody else None


def rules(directory: Path) -> tuple[Rule, ...]:
    """The rules of all `*.toml` in `directory`. InternalError for a file whose messages cannot be foreseen here."""
    return tuple(_rule(path) for path in sorted(directory.glob("*.toml")))


def _rule(path: Path) -> Rule:
    told = tomllib.loads(path.read_text(encoding="utf-8"))
    if unforeseen := told.keys() - _FORESEEN - _JUDGED:
        raise InternalError(f"{path.name}: what {', '.join(sorted(unforeseen))} does to the count is not foreseen")
    events = told["event"]
    return Rule(
        id=TemplateId(told["id"]),
        channel=told["type"],
        events=(events,) if isinstance(events, str) else tuple(events),
        target=told["target"],
        recipient=told.get("recipient"),
        role=told.get("recipient_role"),
        active=told.get("active", True),
        opt_in=told["subscription"] == "OPT_IN",
    )


@dataclass(frozen=True, slots=True)
class Mark:
    """Of which input an output is: its number in the order of sending, and the key that it was sent under."""

    number: int
    key: str


@dataclass(slots=True)
class Expected:
    """Topic -> id of an output -> the inputs that make it, in order; one that is made twice has two marks.

    Ids: of messages, statuses and notifications the encodedKey, of stream events the eid, of decisions the event's id,
    of dead letters reason and place of the source.
    """

    topics: dict[str, dict[str, list[Mark]]] = field(default_factory=dict)

    def add(self, topic: str, output: str, mark: Mark) -> None:
        """One more output."""
        self.topics.setdefault(topic, {}).setdefault(output, []).append(mark)

    def all(self) -> Iterator[tuple[str, str, Mark]]:
        """Every output: topic, id, and of which input it is."""
        for topic, outputs in self.topics.items():
            for output, marks in outputs.items():
                for mark in marks:
                    yield topic, output, mark


@dataclass(frozen=True, slots=True)
class Names:
    """The real names of the topics that outputs are expected on."""

    messages: str
    status: str
    decisions: str
    dead_letters: str
    notifications: str
    streams: Mapping[str, str]  #: event -> topic

    @property
    def all(self) -> tuple[str, ...]:
        """Each topic once."""
        return tuple(
            dict.fromkeys(
                (
                    *(self.messages, self.status, self.decisions, self.dead_letters, self.notifications),
                    *self.streams.values(),
                )
            )
        )


def expect(expected: Expected, event: Json, mark: Mark, *, rules: Iterable[Rule], names: Names) -> None:
    """Add what `event`, told for the first time, makes: births, and one decision when a template made none."""
    matching = [rule for rule in rules if event["event"] in rule.events]
    skipped = not matching
    for rule in matching:
        recipient = rule.recipient_key(event)
        if recipient is None:
            skipped = True
            continue
        key = encoded_key(event["tenant"], event["eventId"], rule.id, recipient=recipient)
        expected.add(names.messages, key, mark)
        expected.add(names.status, key, mark)
        if rule.channel in _NOTIFIED:
            expected.add(names.notifications, key, mark)
        if rule.channel == "EVENT_STREAM":
            expected.add(names.streams[event["event"]], eid(key), mark)
    if skipped:
        expected.add(names.decisions, event["eventId"], mark)


@dataclass(frozen=True, slots=True)
class Read:
    """An output as a reader saw it, in the order of its partition."""

    topic: str
    partition: int
    id: str


@dataclass(frozen=True, slots=True)
class Counts:
    """What was read, by topic, and what is wrong with it.

    `duplicates`: outputs read more often than expected, those nobody expected among them. `lost`: expected and not
    read. `out_of_order`: outputs that come after one of a later input of their key, or in another partition than their
    key's others; a surplus one is a duplicate only.
    """

    read: Mapping[str, int]
    duplicates: int
    lost: int
    out_of_order: int

    @property
    def faults(self) -> int:
        """All that is wrong."""
        return self.duplicates + self.lost + self.out_of_order


def verify(expected: Expected, read: Iterable[Read]) -> Counts:
    """Hold what was read against what was expected. Pure; looks at each record once."""
    counts: Counter[str] = Counter()
    seen: dict[str, Counter[str]] = {topic: Counter() for topic in expected.topics}
    latest: dict[tuple[str, str], tuple[int, int]] = {}  # (topic, key) -> partition, number of its latest input
    duplicates = out_of_order = 0
    for one in read:
        counts[one.topic] += 1
        marks = expected.topics.get(one.topic, {}).get(one.id, [])
        times = seen.setdefault(one.topic, Counter())
        times[one.id] += 1
        if times[one.id] > len(marks):
            duplicates += 1
            continue
        mark = marks[times[one.id] - 1]
        partition, number = latest.get((one.topic, mark.key), (one.partition, mark.number))
        if partition != one.partition or number > mark.number:
            out_of_order += 1
        latest[one.topic, mark.key] = (partition, max(number, mark.number))
    lost = sum(
        max(0, len(marks) - seen[topic][output])
        for topic, outputs in expected.topics.items()
        for output, marks in outputs.items()
    )
    return Counts(dict(counts), duplicates, lost, out_of_order)
