"""The oracle of the demo: what must come of a list of events, by the events and the template files alone; and whether
it did.

Independent of the mapping on purpose: it reads the templates' files itself and knows no more of them than who gets a
message of what. What readers saw is compared with this, so a bug of the mapping cannot hide itself.
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

_COUNT_NEUTRAL: Final = frozenset(  # fields of a template file that do not change how many messages there are
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
_COUNT_RELEVANT: Final = frozenset(("active", "subscription"))
_NOTIFIED: Final = frozenset(("EMAIL", "SMS"))
_WITHOUT_RECIPIENT: Final = frozenset(("EVENT_STREAM", "WEB_HOOK"))


@dataclass(frozen=True, slots=True)
class TemplateSummary:
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
        targets = {
            "LOANS": account and account["kind"] == "LOAN",
            "SAVINGS": account and account["kind"] == "DEPOSIT",
            "CLIENT": client,
            "GROUP": group,
        }
        if not self.active or not targets.get(self.target) or self.opt_in:
            return None  # no holder has opted in: there are no subscriptions in a demo
        if self.channel in _WITHOUT_RECIPIENT:
            return ""
        person: Json | None
        match self.recipient:
            case "CLIENT":
                person = client
            case "GROUP":
                person = group
            case "GROUP_ROLE":
                members = (group or {}).get("members", [])
                role = str(self.role).casefold()
                person = next(
                    (member["client"] for member in members if member.get("role", "").casefold() == role), None
                )
            case "CREDIT_OFFICER":
                officers = (holder.get("creditOfficer") for holder in (account, client, group) if holder)
                person = next((officer for officer in officers if officer), None)
            case _:  # CUSTOM_FIELD: the holder, by an address of its own
                person = client or group
        return str(person["encodedKey"]) if person else None


def read_summaries(directory: Path) -> tuple[TemplateSummary, ...]:
    """Of all `*.toml` in `directory`. InternalError for a file with a field whose effect on the counts is unknown."""
    return tuple(_read_summary(path) for path in sorted(directory.glob("*.toml")))


def _read_summary(path: Path) -> TemplateSummary:
    fields = tomllib.loads(path.read_text(encoding="utf-8"))
    if unknown := fields.keys() - _COUNT_NEUTRAL - _COUNT_RELEVANT:
        raise InternalError(f"{path.name}: what {', '.join(sorted(unknown))} does to the count is unknown")
    events = fields["event"]
    return TemplateSummary(
        id=TemplateId(fields["id"]),
        channel=fields["type"],
        events=(events,) if isinstance(events, str) else tuple(events),
        target=fields["target"],
        recipient=fields.get("recipient"),
        role=fields.get("recipient_role"),
        active=fields.get("active", True),
        opt_in=fields["subscription"] == "OPT_IN",
    )


@dataclass(frozen=True, slots=True)
class InputRef:
    """The input of an output: its number in the order of sending, and the key that it was sent under."""

    number: int
    key: str


@dataclass(slots=True)
class Expected:
    """Topic -> id of an output -> the inputs that make it, in order; one that is made twice has two inputs.

    Ids: of messages, statuses and notifications the encodedKey, of stream events the eid, of decisions the event's id,
    of dead letters reason and place of the source.
    """

    topics: dict[str, dict[str, list[InputRef]]] = field(default_factory=dict)

    def add(self, topic: str, output: str, source: InputRef) -> None:
        """One more output."""
        self.topics.setdefault(topic, {}).setdefault(output, []).append(source)

    def all(self) -> Iterator[tuple[str, str, InputRef]]:
        """Every output: topic, id, and its input."""
        for topic, outputs in self.topics.items():
            for output, sources in outputs.items():
                for source in sources:
                    yield topic, output, source


@dataclass(frozen=True, slots=True)
class TopicNames:
    """The names of the topics that outputs are expected on."""

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


def add_expected(
    expected: Expected, event: Json, source: InputRef, *, templates: Iterable[TemplateSummary], topics: TopicNames
) -> None:
    """Add what `event`, sent for the first time, makes: messages, and one decision when a template made none."""
    matching = [template for template in templates if event["event"] in template.events]
    skipped = not matching
    for template in matching:
        recipient = template.recipient_key(event)
        if recipient is None:
            skipped = True
            continue
        key = encoded_key(event["tenant"], event["eventId"], template.id, recipient=recipient)
        expected.add(topics.messages, key, source)
        expected.add(topics.status, key, source)
        if template.channel in _NOTIFIED:
            expected.add(topics.notifications, key, source)
        if template.channel == "EVENT_STREAM":
            expected.add(topics.streams[event["event"]], eid(key), source)
    if skipped:
        expected.add(topics.decisions, event["eventId"], source)


@dataclass(frozen=True, slots=True)
class OutputRef:
    """An output as a reader saw it, in the order of its partition."""

    topic: str
    partition: int
    id: str


@dataclass(frozen=True, slots=True)
class Counts:
    """What was read, by topic, and what is wrong with it.

    `duplicates`: outputs read more often than expected, unexpected ones among them. `lost`: expected and not
    read. `out_of_order`: outputs that come after one of a later input of their key, or in another partition than their
    key's others; a surplus one is a duplicate only.
    """

    read: Mapping[str, int]
    duplicates: int
    lost: int
    out_of_order: int

    @property
    def discrepancies(self) -> int:
        """All that is wrong."""
        return self.duplicates + self.lost + self.out_of_order


def verify(expected: Expected, read: Iterable[OutputRef]) -> Counts:
    """Compare what was read with what was expected. Pure; looks at each record once."""
    counts: Counter[str] = Counter()
    seen: dict[str, Counter[str]] = {topic: Counter() for topic in expected.topics}
    latest: dict[tuple[str, str], tuple[int, int]] = {}  # (topic, key) -> partition, number of its latest input
    duplicates = out_of_order = 0
    for output in read:
        counts[output.topic] += 1
        sources = expected.topics.get(output.topic, {}).get(output.id, [])
        times = seen.setdefault(output.topic, Counter())
        times[output.id] += 1
        if times[output.id] > len(sources):
            duplicates += 1
            continue
        source = sources[times[output.id] - 1]
        partition, number = latest.get((output.topic, source.key), (output.partition, source.number))
        if partition != output.partition or number > source.number:
            out_of_order += 1
        latest[output.topic, source.key] = (partition, max(number, source.number))
    lost = sum(
        max(0, len(sources) - seen[topic][output])
        for topic, outputs in expected.topics.items()
        for output, sources in outputs.items()
    )
    return Counts(dict(counts), duplicates, lost, out_of_order)
