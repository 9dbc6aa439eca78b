"""The guide for authors of templates: its commands, files and tables are right."""

import json
import re
import shutil
from pathlib import Path

import pytest

from processor.cli.main import exit_code
from processor.domain.language import nearest_language
from processor.domain.placeholders import PlaceholderType
from processor.domain.record import EventName
from processor.domain.template import OperandType
from processor.domain.value_format import notation_for
from processor.mapping.conditions import OPERAND_TYPES
from processor.registry.schema_files import load_schemas
from processor.templates.compile_conditions import OPERATORS
from processor.templates.load import SHIPPED, LoadResult, read_templates, require_usable
from processor.templates.patterns import suggest_date_pattern, suggest_number_pattern
from tests.documents.pages import GUIDES, snippets
from tests.documents.walkthrough import blocks, section, type_line, typed
from tests.support.read_to_end import read_topics

PAGE = GUIDES / "templates.md"
TEXT = PAGE.read_text()
FRAGMENTS = [code for code in snippets(PAGE, "toml") if not code.startswith("id = ")]


def id_of(template: str) -> str:
    """The id of a template, which its file begins with."""
    return template.split('"', 2)[1]


FILES = {id_of(code): code for code in snippets(PAGE, "toml") if code.startswith("id = ")}
EMAIL = FILES["loan-repayment-email"]
TYPES = {kind.value: operand for kind, operand in OPERAND_TYPES.items()} | {"true or false": OperandType.BOOLEAN}


def rows(heading: str) -> list[list[str]]:
    """The cells of the table whose first cell is `heading`, without its head."""
    table = TEXT.partition(f"\n| {heading} |")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def load(folder: Path, template: str) -> LoadResult:
    """What a folder holds with this template alone and, as the guide has them, the events of samples in `events`."""
    shutil.copytree(SHIPPED / "events", folder / "events", dirs_exist_ok=True)
    (folder / f"{id_of(template)}.toml").write_text(template)
    return read_templates(folder, tenant="northbank", schemas=load_schemas())


def codes(folder: Path, body: str) -> set[str]:
    """The rules that an e-mail with this body breaks."""
    template = re.sub("^body = .*", lambda _: f"body = '''{body}'''", EMAIL, flags=re.MULTILINE)
    loaded = load(folder, template)
    return {diagnostic.code for diagnostic in loaded.diagnostics if diagnostic.is_error}


@pytest.mark.kafka
@pytest.mark.usefixtures("reader_of_a_guide")
def test_the_first_template(
    bootstrap_servers: str,
    topic_prefix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Typed and written one after the other, each command prints what is shown, and the message is on its topic."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PROCESSOR_OUTPUT__FORMAT", "json")
    template, failed = tmp_path / "templates" / "repayment-text.toml", []
    for block in blocks(section(TEXT, "Your first template")):
        if block.language == "toml" and block.code.startswith("id = "):
            assert template.read_text() == block.code
        elif block.language == "toml":
            key = block.code.partition(" = ")[0]
            before, after = re.split(f"^{re.escape(key)} = .*\n", template.read_text(), flags=re.MULTILINE)
            template.write_text(before + block.code + after)
        else:
            for step in typed(block):
                code, printed = type_line(step.line, monkeypatch, capsys, kept=["PROCESSOR_KAFKA__BOOTSTRAP_SERVERS"])
                assert step.shown in ("", printed), step.line
                failed += [step.line] if code else []
    statuses = [
        json.loads(record.value() or b"")
        for record in read_topics(bootstrap_servers, [f"{topic_prefix}communications.status"])
    ]

    assert ["processor check"] == failed  # the first of two, which shows what the sample no longer gives
    assert [("repayment-text", 1, "QUEUED")] == [
        (status["templateId"], status["templateVersion"], status["to"]) for status in statuses
    ]


@pytest.mark.parametrize("template", FILES.values(), ids=FILES)
def test_the_templates(template: str, tmp_path: Path) -> None:
    """Each whole template loads without a diagnostic, and its sample gives what it expects."""
    loaded = load(tmp_path, template)

    assert ((), [True]) == (loaded.diagnostics, [run.passed for run in loaded.samples])


def test_the_sample_without_a_message(tmp_path: Path) -> None:
    """It passes beside the other one."""
    (sample,) = (code for code in FRAGMENTS if code.startswith("[[sample]]"))
    loaded = load(tmp_path, f"{EMAIL}\n{sample}")

    assert ((), [True, True]) == (loaded.diagnostics, [run.passed for run in loaded.samples])


def test_the_conditions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The e-mail takes them, and `explain` shows them as the guide does."""
    (conditions,) = (code for code in FRAGMENTS if code.startswith("match"))
    before, bracket, after = EMAIL.partition("[[sample]]")
    loaded = load(tmp_path, f"{before}{conditions}\n{bracket}{after}")
    (template,) = require_usable(loaded).for_event(EventName("LOAN_REPAYMENT"))
    monkeypatch.setenv("PROCESSOR_TEMPLATES_DIR", str(tmp_path))
    monkeypatch.setenv("PROCESSOR_TENANT", "northbank")
    code = exit_code(["explain", "LOAN_REPAYMENT"])
    (shown,) = (text for text in snippets(PAGE, "text") if "conditions" in text)

    assert (0, 2) == (code, len(template.conditions))
    assert shown in capsys.readouterr().out


def test_operators() -> None:
    """The table has every operator with the fields of its operands and the types that it is for."""
    documented = {
        name: (
            re.findall("`((?:second_)?values?)`", operands),
            set(TYPES) if types.startswith("every type") else set(types.split(", ")),
        )
        for names, operands, types in rows("Operator")
        for name in re.findall("[A-Z_]{2,}", names)
    }

    assert documented == {
        operator.value: (list(rule.operands), {word for word, kind in TYPES.items() if kind in rule.types})
        for operator, rule in OPERATORS.items()
    }


def test_texts_that_look_like_placeholders(tmp_path: Path) -> None:
    """Each line breaks T21, double braces do not."""
    (shown,) = (text for text in snippets(PAGE, "text") if "ACCOUNT_ID" in text and "conditions" not in text)
    lines = shown.splitlines()

    assert len(lines) > 8
    assert [] == [line for line in lines if "T21" not in codes(tmp_path, f"<p>{line}</p>")]
    assert set() == codes(tmp_path, "<p>{{ACCOUNT_ID}}</p>")


def test_patterns_that_are_mistakes() -> None:
    """Of each pattern the one in the second column is suggested."""
    table = [(pattern.strip("`"), meant.strip("`")) for pattern, meant, _ in rows("Pattern")]
    locale = notation_for("en").locale
    suggested = [
        suggest_date_pattern(pattern)[0]
        if re.match("[A-Za-z]", pattern)
        else suggest_number_pattern(pattern, PlaceholderType.DECIMAL, locale)[0]
        for pattern, _ in table
    ]

    assert len(table) > 5
    assert [meant for _, meant in table] == suggested


def test_languages_of_readers() -> None:
    """A reader gets the first of the texts in its row that there is, and none that the row excludes."""
    for reader, texts in rows("Reader"):
        wanted, _, excluded = texts.partition("; never")
        tags = re.findall("`([a-zA-Z0-9-]+)`", wanted.partition(":")[0])
        tag = reader.strip("`")

        assert tags
        for number, expected in enumerate(tags):
            assert expected == nearest_language(tag, ("fr", *reversed(tags[number:])))
        for other in re.findall("`(.+?)`", excluded):
            assert "fr" == nearest_language(tag, ("fr", other))


def test_links_in_html(tmp_path: Path) -> None:
    """A link of the table is right, or breaks T12, as it says."""
    links = re.findall(r'^\| (Right|Error) \| `(href="[^`]+")`', TEXT, re.MULTILINE)
    found = [(codes(tmp_path, f"<a {link}>here</a>"), link) for _, link in links]

    assert {"Right", "Error"} == {kind for kind, _ in links}
    assert [({"T12"} if kind == "Error" else set(), link) for kind, link in links] == found
