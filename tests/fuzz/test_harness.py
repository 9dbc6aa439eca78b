"""The harness finds what it is there for; its records repeat, reach far, and its templates use all that there is."""

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

import processor.mapping.map as module
from processor.domain.catalogue import EVENTS
from processor.domain.message import Channel
from processor.domain.placeholders import PLACEHOLDERS
from processor.domain.reasons import Reason
from processor.domain.record import OutRecord
from processor.mapping.render import Rendered, render
from processor.mapping.template import ContentType, Custom, Named, Operator, RecipientKind
from processor.wire.encode import dead_letter_record
from tests.fuzz import __main__ as command
from tests.fuzz.checker import EXTREME, MUTATED, Case, Finding, Verdict, check, make_case
from tests.fuzz.corpus import make_corpus
from tests.fuzz.environment import Environment, make_environment
from tests.fuzz.faults import FAULTY_RECORDS, decode_with, raises
from tests.fuzz.run import HUNG_S, LEAST_SHARES, MUST_REACH, Figures, Run, run
from tests.fuzz.templates import template_id, write_templates
from tests.mapping.builders import schemas

SEED = 11
TEMPLATES = 300
NEWER_OR_LARGE = (Reason.UNKNOWN_EVENT, Reason.INVALID_EVENT, Reason.EVENT_TOO_LARGE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template files of the seed."""
    made = tmp_path_factory.mktemp("fuzz") / "templates"
    write_templates(made, count=TEMPLATES, seed=SEED)
    return made


@pytest.fixture(scope="module")
def environment(folder: Path) -> Environment:
    """Read from them."""
    return make_environment(folder, seed=SEED)


def verdicts(environment: Environment, kind: str, number: int) -> Iterator[tuple[Case, Verdict]]:
    """What is made of the first records of a kind."""
    for index in range(number):
        case = make_case(environment, kind, index, seed=SEED)
        yield case, check(case, environment)


def found(environment: Environment, kind: str, number: int) -> Counter[str]:
    """The rules of all findings."""
    return Counter(finding.rule for _, verdict in verdicts(environment, kind, number) for finding in verdict.findings)


# ------------------------------------------------------------------------------------------------------- a small share


@pytest.mark.parametrize(("kind", "number"), [(EXTREME, 120), (MUTATED, 800)])
def test_nothing_leaves_mapping(environment: Environment, kind: str, number: int) -> None:
    """The first records of the seed end as they should, and as many make messages as a long run asks for."""
    findings: list[Finding] = []
    seen = Counter[str]()
    for _, verdict in verdicts(environment, kind, number):
        findings += verdict.findings
        seen.update(verdict.seen)

    assert [] == findings
    assert seen["messages made"] >= LEAST_SHARES[kind, "messages made"] * number


def test_a_record_repeats(environment: Environment) -> None:
    """A name and a seed give the same record, whatever was made before it; other numbers and seeds give others."""
    names = [(EXTREME, 40), (MUTATED, 7), (EXTREME, 3), (MUTATED, 900)]
    first = [make_case(environment, kind, index, seed=SEED) for kind, index in names]
    again = [make_case(environment, kind, index, seed=SEED) for kind, index in reversed(names)]
    other = [make_case(environment, kind, index, seed=SEED + 1) for kind, index in names]

    assert first == [*reversed(again)]
    assert len(names) == len({case.record for case in first})
    assert not {case.record for case in first} & {case.record for case in other}


def test_every_event_is_met() -> None:
    """Both kinds begin with all 73 events, and each producer's schema resolves to ours."""
    corpus = make_corpus(schemas(), seed=SEED)

    assert set(EVENTS) == {event["event"] for event in corpus.events}
    assert all(len(writers) > 1 for writers in corpus.writers.values())
    assert all(writer.type is not None for writers in corpus.writers.values() for writer in writers)


def test_extreme_events_fit_our_schemas(environment: Environment) -> None:
    """Nearly all of them are events; those that are none are too large or name something newer."""
    reasons = Counter(
        word
        for _, verdict in verdicts(environment, EXTREME, 100)
        for word in verdict.seen
        if word.startswith("dead letter") and Reason.WRONG_KEY not in word
    )

    assert reasons.total() <= 5
    assert {f"dead letter {reason}" for reason in NEWER_OR_LARGE} >= reasons.keys()


# ------------------------------------------------------------------------------------------------------ what it finds


def same(rendered: Any) -> Any:
    """As it was."""
    return rendered


NUMBERS = count()


def unlike(rendered: Any) -> Any:
    """Another text each time."""
    return replace(rendered, body=f"{rendered.body} {next(NUMBERS)}") if isinstance(rendered, Rendered) else rendered


def broken(rendered: Any) -> Any:
    """A body that ends too early."""
    return replace(rendered, body=rendered.body[:-1]) if isinstance(rendered, Rendered) else rendered


def foreign(rendered: Any) -> Any:
    """A body with a script that a value brought."""
    return replace(rendered, body=f"{rendered.body}<script></script>") if isinstance(rendered, Rendered) else rendered


@pytest.mark.parametrize(
    ("change", "rule"),
    [(same, None), (unlike, "DIFFERENT"), (broken, "BODY"), (foreign, "BODY: an element that no template has")],
    ids=["same", "different", "body", "foreign"],
)
def test_wrong_texts_are_found(
    environment: Environment, monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], Any], rule: str | None
) -> None:
    """A text that is not the same twice, and a body that is no document."""
    monkeypatch.setattr(module, "render", lambda *args, **given: change(render(*args, **given)))

    texts = [
        f"{finding.rule}: {finding.text.partition(': ')[2]}"
        for _, verdict in verdicts(environment, EXTREME, 40)
        for finding in verdict.findings
    ]

    assert any(text.startswith(rule) for text in texts) if rule else not texts


def test_a_template_that_is_lost_is_found(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each template of an event has an outcome."""
    made = module._made

    def lose(template: Any, *args: Any) -> Any:
        return None if template.type is Channel.WEB_HOOK else made(template, *args)

    monkeypatch.setattr(module, "_made", lose)

    assert "LOST" in found(environment, EXTREME, 40)


def test_an_output_over_its_limit_is_found(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where mapping holds outputs to a larger limit than their topic has."""
    monkeypatch.setattr(OutRecord, "size_bytes", property(lambda _: 0))
    (small,) = [installation for installation in environment.installations if installation.name == "small topics"]
    cases = [replace(make_case(environment, EXTREME, index, seed=SEED), installation=small) for index in range(30)]

    assert "LIMIT" in {finding.rule for case in cases for finding in check(case, environment).findings}


def test_a_dead_letter_without_its_bytes_is_found(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead letter that lost the source's headers and does not say so."""

    def lose(letter: Any, **given: Any) -> Any:
        return dead_letter_record(replace(letter, value=b"another"), **given)

    monkeypatch.setattr(module, "dead_letter_record", lose)

    assert "LETTER" in found(environment, MUTATED, 40)


def test_an_unreadable_output_is_found(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that says more than its schema."""
    out = module._out
    monkeypatch.setattr(
        module, "_out", lambda topic, record, key, value, headers: out(topic, record, key, value + b"x", headers)
    )

    assert {"UNREADABLE"} == set(found(environment, EXTREME, 40))


def test_what_mapping_raises_is_found_and_repeats(
    environment: Environment, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is named by its record and its place in the code; the name alone raises it again, and shows the record."""
    monkeypatch.setattr(module, "decode", decode_with(raises))
    (finding, *_) = [finding for _, verdict in verdicts(environment, EXTREME, 8) for finding in verdict.findings]
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)  # it would be that of these tests
    code = command.show(finding.case, folder, seed=SEED, memory_mib=1024)
    shown = json.loads(capsys.readouterr().out)
    kind, _, index = finding.case.partition(":")

    assert ("RAISED", True) == (finding.rule, "KeyError: 'planted'" in finding.text and "faults.py" in finding.text)
    assert (1, "RAISED") == (code, shown["findings"][0][0])
    assert command.encoded(make_case(environment, kind, int(index), seed=SEED).record.value) == shown["value"]


# ------------------------------------------------------------------------------------------------------ its processes

COUNT = 20


def figures(tmp_path: Path, fault: str, *, processes: int = 1, hung_s: float = HUNG_S) -> Figures:
    """Of a run over 20 extreme records with a fault planted in mapping. All but those that meet it are mapped."""
    templates = tmp_path / "templates"
    write_templates(templates, count=14, seed=SEED)
    plan = Run(templates, SEED, {EXTREME: COUNT}, processes, memory_mib=1024)
    worker = (sys.executable, "-m", "tests.fuzz.faults", fault)
    made = run(plan, tmp_path, say=lambda _: None, worker=worker, hung_s=hung_s)
    cases = [finding["case"] for finding in made.findings]

    assert {f"{EXTREME}:{place}" for place in FAULTY_RECORDS} >= set(cases)
    assert 0 < len(cases) == len(set(cases)) == made.finding_count
    return made


def test_memory_has_a_limit(tmp_path: Path) -> None:
    """A record that takes all memory meets the limit of its process, which lives."""
    made = figures(tmp_path, "takes_all_memory")

    assert all(("RAISED", True) == (found["rule"], "MemoryError" in found["text"]) for found in made.findings)
    assert COUNT == made.counts["extreme records"]
    assert 800 << 10 < made.address_kib <= 1024 << 10


def test_a_process_that_dies_is_replaced(tmp_path: Path) -> None:
    """The record that it died of is named, and a new process goes on behind it."""
    made = figures(tmp_path, "dies", processes=2)

    assert all(("DIED", True) == (found["rule"], "exit code 11" in found["text"]) for found in made.findings)


def test_a_process_that_hangs_is_ended(tmp_path: Path) -> None:
    """The record that it hangs in is named, and a new process goes on behind it."""
    made = figures(tmp_path, "hangs", hung_s=8.0)

    assert {"HUNG"} == {found["rule"] for found in made.findings}


def test_a_run_that_reaches_little_says_so() -> None:
    """A long run that met none of what it must meet is no proof; a short one is not asked."""
    long, short = Figures(), Figures()
    long.counts.update({"mutated records": 500_000, "extreme records": 20_000})
    short.counts.update({"mutated records": 50, "extreme records": 20})
    missing = long.not_reached(2)

    assert [] == short.not_reached(2)
    assert sum(map(len, MUST_REACH.values())) + len(LEAST_SHARES) + 1 == len(missing)
    assert f"2 generated templates are never rendered: {template_id(0)}, {template_id(1)}" == missing[-1]


# ---------------------------------------------------------------------------------------------------------- templates


def test_templates_repeat(tmp_path: Path) -> None:
    """The same seed gives the same files, another gives others."""
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_templates(tmp_path / name, count=30, seed=seed)
    texts = {
        name: [(tmp_path / name / f"{template_id(number)}.toml").read_text() for number in range(30)] for name in "abc"
    }

    assert texts["a"] == texts["b"]
    assert 30 == len(set(texts["a"]) - set(texts["c"]))


def test_templates_use_everything(folder: Path, environment: Environment) -> None:
    """Each row of the placeholders, FORMAT and FORMAT_DATE in many patterns and languages, each operator, channel,
    content type, recipient and event."""
    files = [tomllib.loads((folder / f"{template_id(number)}.toml").read_text()) for number in range(TEMPLATES)]
    generated = [template for template in environment.templates.values() if template.id.startswith("fuzz-")]
    segments = [
        segment
        for template in generated
        for text in (template.text, *template.texts.values())
        for segment in (*(text.subject or ()), *text.body, *(text.url or ()))
    ]
    named = [segment for segment in segments if isinstance(segment, Named)]
    forms = {segment.form for segment in named if segment.form is not None}
    paths = {(segment.name, source.path) for segment in named for source in segment.sources.values()}

    assert TEMPLATES == len(generated)
    assert [] == [row for row in PLACEHOLDERS if (row.name, row.path) not in paths]
    assert len({form.pattern for form in forms if form.function == "FORMAT"}) > 100
    assert len({form.pattern for form in forms if form.function == "FORMAT_DATE"}) > 80
    assert len({form.notation.locale for form in forms}) > 50
    assert any(isinstance(segment, Custom) for segment in segments)
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
