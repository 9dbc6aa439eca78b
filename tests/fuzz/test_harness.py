"""The fuzzer detects planted faults; its records repeat and get far, and its templates use every feature."""

import json
import resource
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

import processor.mapping.decode_record as decoding
import processor.mapping.draft as drafts
import processor.mapping.map as module
from processor.domain import record as record_module
from processor.domain.catalogue import EVENTS
from processor.domain.channel import Channel, ContentType, RecipientKind
from processor.domain.outcome import TemplateResult
from processor.domain.placeholders import PLACEHOLDERS
from processor.domain.reasons import Reason
from processor.domain.record import OutRecord
from processor.domain.template import CustomFieldPlaceholder, NamedPlaceholder, Operator
from processor.mapping import outputs, rejections
from processor.mapping.render import Rendered, render
from processor.wire.dead_letter import dead_letter_record
from tests.fuzz import __main__ as command
from tests.fuzz.checker import EXTREME, MUTATED, Case, CheckResult, Finding, check, make_case
from tests.fuzz.corpus import make_corpus
from tests.fuzz.environment import Environment, make_environment
from tests.fuzz.faults import FAULTY_RECORDS, decode_with_fault, raise_error
from tests.fuzz.run import HANG_TIMEOUT_S, MIN_RATIOS, MUST_COVER, RunPlan, Statistics, run
from tests.fuzz.templates import template_id, write_templates
from tests.support.builders import schemas

pytestmark = pytest.mark.process

SEED = 11
TEMPLATES = 300
NEWER_OR_LARGE = (Reason.UNKNOWN_EVENT, Reason.INVALID_EVENT, Reason.EVENT_TOO_LARGE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template files of the seed."""
    templates = tmp_path_factory.mktemp("fuzz") / "templates"
    write_templates(templates, count=TEMPLATES, seed=SEED)
    return templates


@pytest.fixture(scope="module")
def environment(folder: Path) -> Environment:
    """With these templates."""
    return make_environment(folder, seed=SEED)


def results(environment: Environment, kind: str, number: int) -> Iterator[tuple[Case, CheckResult]]:
    """The first records of a kind, checked."""
    for index in range(number):
        case = make_case(environment, kind, index, seed=SEED)
        yield case, check(case, environment)


def rules_found(environment: Environment, kind: str, number: int) -> Counter[str]:
    """The rules of all findings."""
    return Counter(finding.rule for _, result in results(environment, kind, number) for finding in result.findings)


# ------------------------------------------------------------------------------------------------------- a small share


@pytest.mark.parametrize(("kind", "number"), [(EXTREME, 120), (MUTATED, 800)])
def test_mapping_raises_nothing(environment: Environment, kind: str, number: int) -> None:
    """The first records of the seed have no findings, and as many create messages as a long run requires."""
    findings: list[Finding] = []
    labels = Counter[str]()
    for _, result in results(environment, kind, number):
        findings += result.findings
        labels.update(result.labels)

    assert [] == findings
    assert labels["messages created"] >= MIN_RATIOS[kind, "messages created"] * number


def test_records_are_reproducible(environment: Environment) -> None:
    """A name and a seed give the same record, in any order; other numbers and seeds give others."""
    names = [(EXTREME, 40), (MUTATED, 7), (EXTREME, 3), (MUTATED, 900)]
    first = [make_case(environment, kind, index, seed=SEED) for kind, index in names]
    again = [make_case(environment, kind, index, seed=SEED) for kind, index in reversed(names)]
    other = [make_case(environment, kind, index, seed=SEED + 1) for kind, index in names]

    assert first == [*reversed(again)]
    assert len(names) == len({case.record for case in first})
    assert not {case.record for case in first} & {case.record for case in other}


def test_every_event_is_covered() -> None:
    """Both kinds start from all events, and each writer's schema resolves to the processor's."""
    corpus = make_corpus(schemas(), seed=SEED)

    assert set(EVENTS) == {event["event"] for event in corpus.events}
    assert all(len(writers) > 1 for writers in corpus.writers.values())
    assert all(writer.type is not None for writers in corpus.writers.values() for writer in writers)


def test_extreme_events_fit_the_schemas(environment: Environment) -> None:
    """Nearly all of them can be decoded; those that cannot are too large or name something newer."""
    reasons = Counter(
        label
        for _, result in results(environment, EXTREME, 100)
        for label in result.labels
        if label.startswith("dead letter") and Reason.WRONG_KEY not in label
    )

    assert reasons.total() <= 5
    assert {f"dead letter {reason}" for reason in NEWER_OR_LARGE} >= reasons.keys()


# ---------------------------------------------------------------------------------------------------- planted faults


def unchanged(rendered: Any) -> Any:
    """The text as it is."""
    return rendered


NUMBERS = count()


def different(rendered: Any) -> Any:
    """Another text each time."""
    return replace(rendered, body=f"{rendered.body} {next(NUMBERS)}") if isinstance(rendered, Rendered) else rendered


def truncated(rendered: Any) -> Any:
    """A body that ends too early."""
    return replace(rendered, body=rendered.body[:-1]) if isinstance(rendered, Rendered) else rendered


def with_script(rendered: Any) -> Any:
    """A body with a script, as if a value had brought it."""
    return replace(rendered, body=f"{rendered.body}<script></script>") if isinstance(rendered, Rendered) else rendered


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (unchanged, None),
        (different, "DIFFERENT"),
        (truncated, "BODY"),
        (with_script, "BODY: an element that no template has"),
    ],
    ids=["unchanged", "different", "truncated", "script"],
)
def test_wrong_texts_are_found(
    environment: Environment, monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], Any], rule: str | None
) -> None:
    """A text that differs from one call to the next, a truncated body, and a script in it."""
    monkeypatch.setattr(drafts, "render", lambda *args, **options: change(render(*args, **options)))

    texts = [
        f"{finding.rule}: {finding.text.partition(': ')[2]}"
        for _, result in results(environment, EXTREME, 40)
        for finding in result.findings
    ]

    assert any(text.startswith(rule) for text in texts) if rule else not texts


def test_a_template_that_is_lost_is_found(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each template of an event must have an outcome."""
    original = module._map_template

    def lose(template: Any, *args: Any, **options: Any) -> Any:
        return TemplateResult() if template.type is Channel.WEB_HOOK else original(template, *args, **options)

    monkeypatch.setattr(module, "_map_template", lose)

    assert "LOST" in rules_found(environment, EXTREME, 40)


def test_an_output_over_its_limit_is_found(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mapping that checks against a larger limit than the topic has."""
    monkeypatch.setattr(record_module, "_size_bytes", lambda *_: 0)
    by_name = {configuration.name: configuration for configuration in environment.configurations}
    cases = [
        replace(make_case(environment, EXTREME, index, seed=SEED), configuration=by_name["small topics"])
        for index in range(80)
    ]

    assert "LIMIT" in {finding.rule for case in cases for finding in check(case, environment).findings}


def test_a_dead_letter_without_its_bytes_is_found(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead letter that has another value and does not say so."""

    def lose(letter: Any, **options: Any) -> Any:
        return dead_letter_record(replace(letter, value=b"another"), **options)

    monkeypatch.setattr(rejections, "dead_letter_record", lose)

    assert "DEAD_LETTER" in rules_found(environment, MUTATED, 40)


def test_an_undecodable_output_is_found(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value with a byte too many."""
    monkeypatch.setattr(
        outputs,
        "OutRecord",
        lambda topic, partition, key, value, headers: OutRecord(topic, partition, key, value + b"x", headers),
    )

    assert {"UNREADABLE"} == set(rules_found(environment, EXTREME, 40))


def test_an_exception_in_mapping_is_found_and_reproducible(
    environment: Environment, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The finding names the record and the line of code; the record's name alone repeats it, and prints the record."""
    monkeypatch.setattr(decoding, "decode", decode_with_fault(raise_error))
    (finding, *_) = [finding for _, result in results(environment, EXTREME, 8) for finding in result.findings]
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)  # it would limit these tests
    code = command.show(finding.case, folder, seed=SEED, memory_mib=1024)
    printed = json.loads(capsys.readouterr().out)
    kind, _, index = finding.case.partition(":")

    assert ("RAISED", True) == (finding.rule, "KeyError: 'planted'" in finding.text and "faults.py" in finding.text)
    assert (1, "RAISED") == (code, printed["findings"][0][0])
    assert command.encoded(make_case(environment, kind, int(index), seed=SEED).record.value) == printed["value"]


# ---------------------------------------------------------------------------------------------------------- processes

COUNT = 20


def run_with_fault(
    tmp_path: Path, fault: str, *, processes: int = 1, hang_timeout_s: float = HANG_TIMEOUT_S
) -> Statistics:
    """A run over 20 extreme records with a fault planted in mapping, for two of them."""
    templates = tmp_path / "templates"
    write_templates(templates, count=14, seed=SEED)
    plan = RunPlan(templates, SEED, {EXTREME: COUNT}, processes, memory_mib=1024)
    worker = (sys.executable, "-m", "tests.fuzz.faults", fault)
    statistics = run(plan, tmp_path, log_progress=lambda _: None, worker=worker, hang_timeout_s=hang_timeout_s)
    cases = [finding["case"] for finding in statistics.findings]

    assert {f"{EXTREME}:{index}" for index in FAULTY_RECORDS} >= set(cases)
    assert 0 < len(cases) == len(set(cases)) == statistics.finding_count
    return statistics


def test_memory_is_limited(tmp_path: Path) -> None:
    """A record that exhausts memory hits the limit of its process, which goes on."""
    statistics = run_with_fault(tmp_path, "exhaust_memory")

    assert all(
        ("RAISED", True) == (finding["rule"], "MemoryError" in finding["text"]) for finding in statistics.findings
    )
    assert COUNT == statistics.counts["extreme records"]
    assert 800 << 10 < statistics.address_kib <= 1024 << 10


def test_a_process_that_dies_is_replaced(tmp_path: Path) -> None:
    """Its record is named, and a new process goes on after it."""
    statistics = run_with_fault(tmp_path, "exit_process", processes=2)

    assert all(
        ("DIED", True) == (finding["rule"], "exit code 11" in finding["text"]) for finding in statistics.findings
    )


def test_a_process_that_hangs_is_ended(tmp_path: Path) -> None:
    """Its record is named, and a new process goes on after it."""
    statistics = run_with_fault(tmp_path, "hang", hang_timeout_s=4.0)

    assert {"HUNG"} == {finding["rule"] for finding in statistics.findings}


def test_a_run_that_covers_little_fails() -> None:
    """A long run that covers none of what it must proves nothing; a short one need not."""
    long, short = Statistics(), Statistics()
    long.counts.update({"mutated records": 500_000, "extreme records": 20_000})
    short.counts.update({"mutated records": 50, "extreme records": 20})
    missing = long.not_covered(2)

    assert [] == short.not_covered(2)
    assert sum(map(len, MUST_COVER.values())) + len(MIN_RATIOS) + 1 == len(missing)
    assert f"2 generated templates are never rendered: {template_id(0)}, {template_id(1)}" == missing[-1]


# ---------------------------------------------------------------------------------------------------------- templates


def test_templates_are_reproducible(tmp_path: Path) -> None:
    """The same seed gives the same files, another gives others."""
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_templates(tmp_path / name, count=30, seed=seed)
    texts = {
        name: [(tmp_path / name / f"{template_id(number)}.toml").read_text() for number in range(30)] for name in "abc"
    }

    assert texts["a"] == texts["b"]
    assert 30 == len(set(texts["a"]) - set(texts["c"]))


def test_templates_use_everything(folder: Path, environment: Environment) -> None:
    """Each placeholder, FORMAT and FORMAT_DATE in many patterns and languages, each operator, channel, content type,
    recipient and event."""
    files = [tomllib.loads((folder / f"{template_id(number)}.toml").read_text()) for number in range(TEMPLATES)]
    generated = [template for template in environment.templates.values() if template.id.startswith("fuzz-")]
    segments = [
        segment
        for template in generated
        for text in (template.text, *template.texts.values())
        for segment in (*(text.subject or ()), *text.body, *(text.url or ()))
    ]
    named = [segment for segment in segments if isinstance(segment, NamedPlaceholder)]
    formats = {segment.format for segment in named if segment.format is not None}
    paths = {(segment.name, source.path) for segment in named for source in segment.paths.values()}

    assert TEMPLATES == len(generated)
    assert [] == [row for row in PLACEHOLDERS if (row.name, row.path) not in paths]
    assert len({form.pattern for form in formats if form.function == "FORMAT"}) > 100
    assert len({form.pattern for form in formats if form.function == "FORMAT_DATE"}) > 80
    assert len({form.notation.locale for form in formats}) > 50
    assert any(isinstance(segment, CustomFieldPlaceholder) for segment in segments)
    assert set(Operator) == {condition["operator"] for file in files for condition in file.get("condition", ())}
    assert set(Channel) == {template.type for template in generated}
    assert set(ContentType) == {template.content_type for template in generated}
    assert {None, *RecipientKind} == {template.recipient for template in generated}
    assert {"POST", "PUT", "PATCH"} == {file["webhook"]["request_type"] for file in files if "webhook" in file}
    assert {True, False} == {template.strict for template in generated} == {template.active for template in generated}
    assert sum(bool(template.texts) for template in generated) > 50
    assert any(template.trigger_days is not None for template in generated)
    assert any(template.attachments for template in generated) and any(template.category for template in generated)
    assert set(EVENTS) == {event for template in generated for event in template.events}
