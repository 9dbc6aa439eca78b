"""The table of rules: each has an example that breaks it, and each code that is shown is in the table."""

import shutil
from pathlib import Path

import pytest

from processor.domain.diagnostic import Diagnostic
from processor.templates.file_checks import CHECKS
from processor.templates.load import SHIPPED, read_templates
from processor.templates.rules import RULES, Rule, RuleCode
from tests.support.builders import TENANT, schemas

FOUND_BY_CHECK = [rule for rule in RULES.values() if rule.found_by_check]


def diagnostics(directory: Path, rule: Rule) -> list[Diagnostic]:
    """What is wrong with the example of `rule`, its missing sample aside."""
    shutil.copytree(SHIPPED / "samples", directory / "samples")
    (directory / "note.toml").write_text(rule.example)
    found = read_templates(directory, tenant=TENANT, schemas=schemas()).diagnostics
    return [diagnostic for diagnostic in found if diagnostic.message != "no sample"]


def test_each_code_is_a_rule() -> None:
    """There are T01 to T22, in this order, each with a title and an explanation that ends its sentences."""
    assert [f"T{number:02}" for number in range(1, 23)] == list(RULES) == list(RuleCode)
    assert all(
        rule.title and not rule.title.endswith(".") and rule.explanation.endswith(".") for rule in RULES.values()
    )
    assert len({rule.title for rule in RULES.values()}) == len(RULES)


@pytest.mark.parametrize("rule", FOUND_BY_CHECK, ids=lambda rule: rule.code)
def test_an_example_breaks_its_rule(tmp_path: Path, rule: Rule) -> None:
    """Its file gives a diagnostic with the rule's code, and none with another."""
    assert {rule.code} == {diagnostic.code for diagnostic in diagnostics(tmp_path, rule)}


def test_only_run_finds_the_other_rules(tmp_path: Path) -> None:
    """T20 needs the category table, so its example passes `check`."""
    (rule,) = [rule for rule in RULES.values() if not rule.found_by_check]

    assert RuleCode.CATEGORY is rule.code
    assert [] == diagnostics(tmp_path, rule)


def test_each_check_is_in_the_tuple_once() -> None:
    """Each check of the module is in the tuple once, and says in its first sentence what it is for."""
    names = [check.__name__ for check in CHECKS]

    assert len(set(names)) == len(names)
    assert all(check.__doc__ and check.__doc__.splitlines()[0].endswith(".") for check in CHECKS)
