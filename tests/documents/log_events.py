"""docs/reference/log-events.md: the events that the program logs, found in its code, with what each means."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from tests.documents.markdown import page, table
from tests.documents.pages import ROOT

_LEVELS: Final = {"exception": "error"}  # method -> level, where they differ
_METHODS: Final = ("debug", "info", "warning", "error", "exception")

MEANINGS: Final[Mapping[str, str]] = {
    "abandoned reference table store removed": "The local store of a process that is long gone was deleted.",
    "catching up": "`--until-end` has so many records left.",
    "consumer did not close in time": "The broker did not respond when the consumer left its group; the group drops it "
    "after its session time-out.",
    "consumer error": "The client reports an error of the connection to the brokers. It tries again by itself.",
    "end of the operation not recorded": "The positions were set, but the record that ends the operation could not be "
    "written. `effect` says what follows.",
    "event not read": "An old event raised an error when it was read to look for its id; it counts as not found.",
    "executor of plans": "Which executor maps ordinary events, and why that one.",
    "forced shutdown: broker did not respond": "The process ended without waiting any longer. What was not committed "
    "is read again after the next start.",
    "going on with an operation": "An operation on the past that was not done goes on.",
    "http connection dropped": "A caller of the operators' port was too slow, or there were too many.",
    "http request": "A request to the operators' port.",
    "http request failed": "A request to the operators' port raised an error: a bug.",
    "internal error": "A bug. The process ends with 70, and the batch was not committed.",
    "invalid reference row": "A row of a reference table cannot be read. Correct or delete it: until then, what needs "
    "it fails.",
    "invalid template sets ignored": "Records of `communications.template-sets` that are none of ours.",
    "kafka client error": "librdkafka reports an error of one client. It tries again by itself.",
    "lag unavailable": "The ends of partitions could not be read; the metric of the lag keeps its value.",
    "listening": "Where health, readiness and metrics are.",
    "mapping raised an error": "Mapping failed twice for this record: a bug. The record is a dead letter, "
    "MAPPING_ERROR.",
    "mapping retried after error": "Mapping failed for this record. It is tried once more, alone.",
    "metrics collection failed": "`/metrics` raised an error: a bug.",
    "more invalid reference rows": "There are more such rows than were logged one by one.",
    "open transactions in outputs": "Another producer has not ended a transaction in an output topic. Its records are "
    "read as they are.",
    "output cannot be read": "A record on an output topic is not readable, and is left out of the deduplication "
    "window.",
    "partition paused": "The partition waits for what `cause` says, and is tried again.",
    "partition reassigned after fetch error": "A fetch failed, so the partition was fetched again from where it was.",
    "partition started": "The partition is ours and is read from this offset.",
    "plan differs from the reference": "A plan and the reference made different outputs of a record: a bug. The "
    "reference's were published.",
    "plan ready": "Records of this schema are mapped by a plan from now on.",
    "reached the end": "`--until-end`: all partitions have reached their end.",
    "readiness check failed": "`/ready` raised an error: a bug.",
    "reading the reference tables": "So many records of the reference tables are left to be read before the start.",
    "rebalance": "Partitions were assigned, revoked or lost.",
    "record key mismatch": "A producer does not key its records by what the event is about, so that order is not "
    "kept. The first of each pattern is logged.",
    "records are of another tenant": "Half of the last records are of another bank: a wrong tenant or topic.",
    "reference table consumer did not close in time": "The broker did not respond when the reader of the reference "
    "tables ended.",
    "reference table consumer error": "The client that reads the reference tables reports an error. It tries again.",
    "reference table partition paused": "A record of a reference topic cannot be fetched, so its table stands still. "
    "`cause` says where.",
    "reference table store not closed cleanly": "The local store reported an error when it was closed. It is checked "
    "when it is opened again.",
    "reference table store rebuilt": "The local store could not be used, for the reason in `cause`, and is read anew "
    "from its topics.",
    "reference tables restored": "All rows are there; events are mapped from now on.",
    "reference topic changed": "A reference topic was created again or changed. `cause` says what follows.",
    "reference topic metadata unavailable": "The brokers did not say whether the reference topics are still the same.",
    "registry ids unavailable": "The registry did not give the ids of our schemas. They are not needed for JSON.",
    "schema fetched": "A producer's schema was fetched from the registry.",
    "schema look-up failed": "The registry's response cannot be read.",
    "schema not available": "Another schema, which was fetched to see whether the registry works, was not served.",
    "schema without a plan": "Records of this schema are mapped without a plan, more slowly. `reason` says why.",
    "seek postponed": "The client was not ready for a seek; it is tried again.",
    "start-from ignored for partitions": "`--start-from` is for a group without positions; these partitions begin "
    "at their first offset.",
    "start-from ignored for positions that the group has": "`--start-from` moves no position that is there.",
    "starting": "The settings that identify this process.",
    "state folder may be readable by others": "The permissions of the folder with customers' names and addresses "
    "could not be set.",
    "stopped": "A clean stop, with what was done since the start.",
    "subjects not available": "The registry did not list its subjects when it was probed.",
    "supervisor gone, stopping": "The supervisor of this worker has ended, and so does the worker.",
    "template categories without a reference row": "Active templates name categories that are not in "
    "`reference.categories` (T20).",
    "template reload crashed": "Reading the templates raised an error: a bug. The set from before stays in use.",
    "template reload deferred": "The templates changed, and what they were before could not be read. Tried again.",
    "template resumed": "A suspended template is used again.",
    "template sets read in part": "Records of `communications.template-sets` are damaged.",
    "template suspended": "A template failed for nearly all of its records. See `/ready`; a new version starts it "
    "again.",
    "templates not reloaded": "The changed templates are not used; `cause` says why. The set from before stays in use.",
    "templates reloaded": "The changed templates are in use.",
    "topic comparison unavailable": "The brokers did not describe the topics. Tried again.",
    "topic differs": "A topic is not as it must be. `hint` says what to do.",
    "topic limits unavailable": "The brokers did not say how large records may be, after one was refused.",
    "transaction not committed": "The batch was undone, and is mapped again. Once in a while is normal when brokers "
    "restart.",
    "unknown lines from worker": "A worker wrote what its supervisor does not know: another version?",
    "unreadable events before the start ignored": "Damaged records lie before the start; the deduplication window "
    "lacks them.",
    "waiting for the broker": "A call is repeated until the broker responds.",
    "worker cannot start, stopping all": "A worker process could not be started.",
    "worker did not stop, killed": "A worker did not end in time.",
    "worker ended, stopping all": "A worker ended with a code that no restart changes.",
    "worker restarting": "A worker died, and is started again after a pause.",
    "worker start deferred": "The system could not start a worker; it is tried again after a pause.",
    "worker started": "A worker process runs.",
}
"""Event -> what it means, for an operator."""


@dataclass(frozen=True, slots=True)
class LogCall:
    """One place in the code that logs: the event, its level, and the fields that the line has."""

    event: str
    level: str
    fields: tuple[str, ...]


def log_calls() -> Iterator[LogCall]:
    """Each place, in the order of the files."""
    for file in sorted((ROOT / "processor").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and (call := _log_call(node)) is not None:
                yield call


def _log_call(call: ast.Call) -> LogCall | None:
    function = call.func
    if not isinstance(function, ast.Attribute) or function.attr not in _METHODS or not call.args:
        return None
    logger, event = ast.unparse(function.value), call.args[0]
    if logger != "log" and not logger.endswith("get_logger()"):
        return None
    assert isinstance(event, ast.Constant), f"{ast.unparse(call)}: an event is a text, and all else a field"
    fields = tuple(keyword.arg for keyword in call.keywords if keyword.arg is not None)
    return LogCall(str(event.value), _LEVELS.get(function.attr, function.attr), fields)


def log_events_page() -> str:
    """A row for each event; the most urgent first."""
    levels: dict[str, str] = {}
    fields: dict[str, dict[str, None]] = {}
    for call in log_calls():
        levels[call.event] = call.level
        fields.setdefault(call.event, {}).update(dict.fromkeys(call.fields))
    order = list(reversed([_LEVELS.get(method, method) for method in _METHODS[:-1]]))
    rows = [
        (event, level, ", ".join(f"`{field}`" for field in fields[event]) or "–", MEANINGS[event])
        for event, level in sorted(levels.items(), key=lambda item: (order.index(item[1]), item[0]))
    ]
    return page(
        "Log events",
        "Logs are lines on stderr: JSON, or columns on a terminal (`PROCESSOR_LOG__FORMAT`). Each has `at`, `level` "
        "and `event`, a short text that stays the same; with `--workers` also `worker`. Fields are those that the code "
        "names; some lines have more. `PROCESSOR_LOG__LEVEL` is the "
        "least level that is written.",
        table(("Event", "Level", "Fields", "Means"), rows),
    )
