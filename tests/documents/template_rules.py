"""docs/reference/template-rules.md."""

from collections.abc import Iterator

from processor.templates.rules import RULES, Rule
from tests.documents.markdown import page, table


def template_rules_page() -> str:
    """Each rule with a file that breaks it."""
    return page(
        "Template rules",
        "`processor check` shows a rule's code beside the line that breaks it. Each example is a file `note.toml` "
        "that breaks its rule; that of T10 is shortened here. T20 is found by `run` alone, which has the reference "
        "tables. What is no TOML, an unknown field and a missing one are shown without a code.",
        table(("Code", "Rule"), ((f"[{rule.code}](#{rule.code.lower()})", rule.title) for rule in RULES.values())),
        *(block for rule in RULES.values() for block in _rule(rule)),
    )


def _rule(rule: Rule) -> Iterator[str]:
    yield f"## {rule.code}"
    yield f"**{rule.title}.** {rule.explanation}"
    yield f"```toml\n{_shortened(rule.example)}```"


def _shortened(example: str) -> str:
    """Without the middle of a line that nobody reads."""
    lines = (line if len(line) <= 200 else f"{line[:60]}…{line[-20:]}" for line in example.splitlines())
    return "\n".join(lines) + "\n"
