"""The judge: what a `read_committed` reader finds against what must be there, and what is hidden from it."""

import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.chaos.expected import TEMPLATES, CreatedMessage, Expected, RecordPosition, Sent, Template, expected
from tests.chaos.reader import OnLog, ends, group_positions, partitions_of, read
from tests.chaos.site import Site

SHOWN = 5  # findings of one kind that are told one by one


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it must be."""

    kind: str  #: DOUBLED, LOST, UNEXPECTED, OUT_OF_ORDER, PARTITION, CONTENT, POSITION, OPEN_TRANSACTION, ...
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found of one installation. `hidden`: places of records that only a `read_uncommitted` reader sees."""

    findings: tuple[Finding, ...]
    hidden: frozenset[tuple[str, int, int]]
    counts: Mapping[str, int]

    def __str__(self) -> str:
        kinds = Counter(finding.kind for finding in self.findings)
        lines = [f"{kind} × {count}" for kind, count in kinds.items()]
        for kind in kinds:
            lines += [str(finding) for finding in self.findings if finding.kind == kind][:SHOWN]
        return "\n".join(lines) or "0 findings"


def verify(
    site: Site, sent: Sequence[Sent], *, templates: Sequence[Template] = TEMPLATES, input_done: bool = True
) -> Verdict:
    """Judge `site`, whose input is `sent`. `input_done`: the group must have reached the input's end.

    To be called when no worker is left.
    """
    must = expected(sent, templates=templates)
    seen = read(site.servers, site.outputs)
    places = {record.at for record in seen}
    all_places = {record.at for record in read(site.servers, site.outputs, isolation="read_uncommitted")}
    counts = Counter(record.topic.removeprefix(site.prefix) for record in seen)
    return Verdict(
        findings=tuple(_findings(site, sent, must, seen, input_done=input_done)),
        hidden=frozenset(all_places - places),
        counts={"input": len(sent), **counts},
    )


def _findings(
    site: Site, sent: Sequence[Sent], must: Expected, seen: Sequence[OnLog], *, input_done: bool
) -> Iterator[Finding]:
    by_topic: dict[str, list[OnLog]] = {topic: [] for topic in site.outputs}
    for record in seen:
        by_topic[record.topic].append(record)
    partitions = partitions_of(site.servers, site.outputs)
    created, by_eid = must.created, must.streams
    known = _Known(site, must, by_eid)
    yield from _births(by_topic[site.messages], created, _message_key)
    yield from _births(by_topic[site.status], created, _message_key)
    yield from _content(by_topic[site.messages], created)
    notified = {key: birth for key, birth in created.items() if birth.template.channel in ("EMAIL", "SMS")}
    yield from _births(by_topic[site.notifications], notified | must.discarded, _message_key)
    yield from _notifications(by_topic[site.notifications], notified | must.discarded, withheld=must.discarded.keys())
    yield from _statuses(site, by_topic[site.status], created)
    for event, topic in site.streams.items():
        mine = {eid: birth for eid, birth in by_eid.items() if birth.template.event == event}
        yield from _births(by_topic[topic], mine, _eid)
        yield from _streams(by_topic[topic], mine)
    yield from _dead_letters(site, by_topic[site.dead_letters], must)
    yield from _decisions(site, by_topic[site.decisions], must)
    for topic, records in by_topic.items():
        yield from _order(topic, records, [known.source(record) for record in records], partitions[topic])
        yield from _accounts(topic, records, known)
    stable = ends(site.servers, site.outputs, stable=True)
    for at, end in ends(site.servers, site.outputs).items():
        if stable[at] != end:
            yield Finding("OPEN_TRANSACTION", f"{at}: readers end at {stable[at]} of {end}")
    if input_done:
        positions = group_positions(site.servers, site.group, site.events)
        for (_, partition), end in ends(site.servers, (site.events,)).items():
            if positions.get(partition) != end:
                yield Finding("POSITION", f"partition {partition}: {positions.get(partition)}, the input ends at {end}")
    by_place = {one.place for one in sent}
    if len(by_place) != len(sent):
        yield Finding("HARNESS", "two records of the input have one place")


def _message_key(record: OnLog) -> str:
    return (record.key or b"").decode(errors="replace")


def _eid(record: OnLog) -> str:
    return str(_json(record).get("metadata", {}).get("eid"))


def _json(record: OnLog) -> dict[str, Any]:
    try:
        value = json.loads(record.value or b"{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _births(
    records: Iterable[OnLog], must: Mapping[str, CreatedMessage], key: Callable[[OnLog], str]
) -> Iterator[Finding]:
    """Each expected key exactly once, and no other."""
    seen: dict[str, list[OnLog]] = {}
    for record in records:
        seen.setdefault(key(record), []).append(record)
    for name, found in seen.items():
        if name not in must:
            yield Finding("UNEXPECTED", f"{name} at {[record.at for record in found]}")
        elif len(found) > 1:
            yield Finding("DOUBLED", f"{name} of {must[name].place} at {[record.at for record in found]}")
    for name in must.keys() - seen.keys():
        yield Finding("LOST", f"{name} of {must[name].place}, template {must[name].template.id}")


def _iso(timestamp_ms: int) -> str:
    moment = datetime.fromtimestamp(timestamp_ms // 1000, tz=UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{timestamp_ms % 1000:03}Z"


def _content(records: Iterable[OnLog], must: Mapping[str, CreatedMessage]) -> Iterator[Finding]:
    for record in records:
        birth = must.get(_message_key(record))
        if birth is None:
            continue
        message = _json(record)
        wanted = {
            "encodedKey": birth.encoded_key,
            "type": birth.template.channel,
            "event": birth.template.event,
            "state": birth.state,
            "creationDate": _iso(birth.timestamp_ms),
            "numRetries": 0,
            "loanAccountKey": birth.account if birth.template.event == "LOAN_REPAYMENT" else None,
            "depositAccountKey": birth.account if birth.template.event == "SAVINGS_DEPOSIT" else None,
        }
        got = {name: message.get(name) for name in wanted}
        if wanted != got:
            yield Finding("CONTENT", f"{record.at}: {got}, not {wanted}")
        if not _shows(birth, str(message.get("body"))):
            yield Finding("CONTENT", f"{record.at}: body {message.get('body')!r} is not of {birth}")


def _shows(birth: CreatedMessage, body: str) -> bool:
    if birth.template.channel == "EVENT_STREAM":
        return body == json.dumps({"n": birth.number, "account": birth.account_id})
    ending = " yes" if birth.template.strict else ""
    return body == f"{birth.number} {birth.account_id}{ending}"


def _notifications(
    records: Iterable[OnLog], must: Mapping[str, CreatedMessage], *, withheld: Collection[str]
) -> Iterator[Finding]:
    for record in records:
        birth = must.get(_message_key(record))
        if birth is None:
            continue
        told = _json(record)
        digits = f"{int(birth.encoded_key, 16) % 10**16:016}"
        wanted = {
            "id": "-".join(["MSG", digits[:4], digits[4:8], digits[8:12], digits[12:]]),
            "status": "Queued" if birth.state == "QUEUED" and birth.encoded_key not in withheld else "Discarded",
            "created": _iso(birth.timestamp_ms),
            "account": "Northbank",
            "category": "Loans" if birth.template.id == "chaos-loan-email" else None,
        }
        got = {
            "id": told.get("id"),
            "status": told.get("status"),
            "created": told["audit"]["created"]["at"],
            "account": told.get("account", {}).get("name"),
            "category": told.get("category", {}).get("name"),
        }
        if birth.contact is not None and told["contact"]["id"] != birth.contact:
            yield Finding("CONTENT", f"{record.at}: contact {told['contact']}, not {birth.contact}")
        if wanted != got:
            yield Finding("CONTENT", f"{record.at}: {got}, not {wanted}")
        if not _shows(birth, str(told.get("body"))):
            yield Finding("CONTENT", f"{record.at}: body {told.get('body')!r} is not of {birth}")


def _statuses(site: Site, records: Iterable[OnLog], must: Mapping[str, CreatedMessage]) -> Iterator[Finding]:
    for record in records:
        birth = must.get(_message_key(record))
        if birth is None:
            continue
        status = _json(record)
        wanted = {
            "encodedKey": birth.encoded_key,
            "sequence": 1,
            "to": birth.state,
            "from": "QUEUED_FOR_STREAM" if birth.template.channel == "EVENT_STREAM" else None,
            "at": _iso(birth.timestamp_ms),
            "templateId": birth.template.id,
            "templateVersion": birth.template.version,
            "lookupMissing": [] if birth.template.channel == "EVENT_STREAM" or birth.contact else ["contact"],
            "source": {"topic": site.events, "partition": birth.place[0], "offset": birth.place[1]},
        }
        got = {name: status.get(name) for name in wanted}
        if wanted != got:
            yield Finding("CONTENT", f"{record.at}: {got}, not {wanted}")


def _streams(records: Iterable[OnLog], must: Mapping[str, CreatedMessage]) -> Iterator[Finding]:
    for record in records:
        birth = must.get(_eid(record))
        if birth is None:
            continue
        value = _json(record)
        if not _shows(birth, str(value.get("body"))) or value.get("template_name") != birth.template.name:
            yield Finding("CONTENT", f"{record.at}: {value} is not of {birth}")
        if record.key != birth.ordering_key.encode():
            yield Finding("CONTENT", f"{record.at}: key {record.key!r}, not the ordering key {birth.ordering_key}")


def _letter_place(record: OnLog) -> RecordPosition:
    headers = dict(record.headers)
    return (int(headers.get("dl.partition", b"-1")), int(headers.get("dl.offset", b"-1")))


def _dead_letters(site: Site, records: Iterable[OnLog], must: Expected) -> Iterator[Finding]:
    seen: dict[RecordPosition, OnLog] = {}
    for record in records:
        place, headers = _letter_place(record), dict(record.headers)
        if place in seen:
            yield Finding("DOUBLED", f"dead letter of {place}")
        seen[place] = record
        if place not in must.dead:
            yield Finding("UNEXPECTED", f"dead letter of {place}: {headers}")
            continue
        source, reason, failed = must.dead[place]
        wanted_headers = source.record.headers
        fate = source.record.fate
        value_kept = getattr(fate, "value_kept", True)
        if headers.get("dl.topic") != site.events.encode():
            yield Finding("CONTENT", f"dead letter of {place}: dl.topic {headers.get('dl.topic')!r}")
        if headers.get("dl.reason") != reason.encode():
            yield Finding("CONTENT", f"dead letter of {place}: {headers.get('dl.reason')!r}, not {reason}")
        if record.key != source.record.key:
            yield Finding("BYTES", f"dead letter of {place}: key {record.key!r}, not {source.record.key!r}")
        if value_kept:
            if record.value != source.record.value:
                yield Finding("BYTES", f"dead letter of {place}: the value is not the source's")
            if tuple(header for header in record.headers if not header[0].startswith("dl.")) != wanted_headers:
                yield Finding("BYTES", f"dead letter of {place}: headers {record.headers}, not {wanted_headers}")
        elif headers.get("dl.value_bytes") != str(len(source.record.value or b"")).encode():
            yield Finding("BYTES", f"dead letter of {place}: dl.value_bytes {headers.get('dl.value_bytes')!r}")
        if not headers.get("dl.detail"):
            yield Finding("CONTENT", f"dead letter of {place}: no detail")
        entries = json.loads(headers.get("dl.failed") or b"[]")
        if failed != frozenset((entry["templateId"], entry["reason"]) for entry in entries):
            yield Finding("CONTENT", f"dead letter of {place}: failed {entries}, not {set(failed)}")
    for place in must.dead.keys() - seen.keys():
        yield Finding("LOST", f"dead letter of {place}, {must.dead[place][1]}")


def _decisions(site: Site, records: Iterable[OnLog], must: Expected) -> Iterator[Finding]:
    seen: set[RecordPosition] = set()
    for record in records:
        value = _json(record)
        source = value.get("source", {})
        place = (source.get("partition"), source.get("offset"))
        if place in seen:
            yield Finding("DOUBLED", f"decision of {place}")
        seen.add(place)
        if place not in must.decisions:
            yield Finding("UNEXPECTED", f"decision of {place}: {value}")
            continue
        event_id, reasons = must.decisions[place]
        got = frozenset((entry.get("templateId"), entry.get("reason")) for entry in value.get("reasons", ()))
        if got != reasons:
            yield Finding("CONTENT", f"decision of {place}: {set(got)}, not {set(reasons)}")
        if place in must.firsts:
            partition, offset = must.firsts[place]
            details = [str(entry.get("detail")) for entry in value.get("reasons", ())]
            if not all(detail.endswith(f"[{partition}]@{offset}") for detail in details):
                yield Finding("CONTENT", f"decision of {place}: {details}, not of {must.firsts[place]}")
        if event_id is not None and record.key != event_id.encode():
            yield Finding("CONTENT", f"decision of {place}: key {record.key!r}, not {event_id}")
        if source.get("topic") != site.events:
            yield Finding("CONTENT", f"decision of {place}: source {source}")
    for place in must.decisions.keys() - seen:
        yield Finding("LOST", f"decision of {place}, {set(must.decisions[place][1])}")


class _Known:
    """What an output stands for."""

    def __init__(self, site: Site, must: Expected, by_eid: Mapping[str, CreatedMessage]) -> None:
        self._site, self._births, self._by_eid = site, must.created | must.discarded, by_eid
        self._streams = frozenset(site.streams.values())
        lanes: dict[tuple[str, str], list[CreatedMessage]] = {}
        for birth in sorted(self._births.values(), key=lambda birth: birth.place):
            lanes.setdefault((birth.account, birth.template.id), []).append(birth)
        self.rank = {
            (*lane, birth.number): rank for lane, created in lanes.items() for rank, birth in enumerate(created)
        }
        """(account, template, number) -> which event of the account this is, by the input's order."""

    def birth(self, record: OnLog) -> CreatedMessage | None:
        """The birth that a message, status, notification or stream event is of."""
        if record.topic in (self._site.messages, self._site.status, self._site.notifications):
            return self._births.get(_message_key(record))
        return self._by_eid.get(_eid(record)) if record.topic in self._streams else None

    def source(self, record: OnLog) -> RecordPosition | None:
        """The place of the input that an output says it is of; for a stream or message, the one its key stands for."""
        if record.topic == self._site.dead_letters:
            return _letter_place(record)
        if record.topic in (self._site.decisions, self._site.status):
            source = _json(record).get("source", {})
            return (source.get("partition", -1), source.get("offset", -1))
        birth = self.birth(record)
        return None if birth is None else birth.place


def _order(
    topic: str, records: Sequence[OnLog], sources: Sequence[RecordPosition | None], partitions: int
) -> Iterator[Finding]:
    """By lineage: each output lies in its source's partition, in the order of the sources."""
    last: dict[tuple[int, int], RecordPosition] = {}
    for record, place in zip(records, sources, strict=True):
        if place is None:
            continue
        if record.partition != place[0] % partitions:
            yield Finding("PARTITION", f"{record.at} is of {place}")
        lane = (record.partition, place[0])
        if lane in last and place < last[lane]:
            yield Finding("OUT_OF_ORDER", f"{topic}: {record.at} of {place} stands after one of {last[lane]}")
        last[lane] = place


def _accounts(topic: str, records: Iterable[OnLog], known: _Known) -> Iterator[Finding]:
    """By content: of one account and template, bodies tell the account's events in their order."""
    last: dict[tuple[str, str], int] = {}
    for record in records:
        birth = known.birth(record)
        said = re.search(r"\d{8}", str(_json(record).get("body", "")))
        if birth is None or said is None:
            continue
        lane = (birth.account, birth.template.id)
        rank = known.rank.get((*lane, said[0]), -1)
        if rank <= last.get(lane, -1):
            yield Finding("OUT_OF_ORDER", f"{topic}: {record.at} tells {said[0]} of {birth.account_id} too late")
        last[lane] = rank
