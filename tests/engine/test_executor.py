"""Which executor runs plans, and why."""

from dataclasses import replace
from importlib.metadata import version
from typing import Any

import pytest

from processor.engine.executor import choose_executor
from processor.errors import UsageError
from processor.mapping.options import Plan
from processor.native import NativePart

UNUSED: Any = None
PART = NativePart(
    version=version("processor"),
    make_scan=UNUSED,
    scan_operations={},
    make_text=UNUSED,
    text_operations={},
    escapes={},
    make_outputs=UNUSED,
    output_sources={},
    output_encodings={},
    make_template=UNUSED,
    make_event=UNUSED,
    make_events=UNUSED,
    checks={},
)


def test_the_best_there_is() -> None:
    """Native, where it is there; the log says why it is not."""
    native = choose_executor(None, native=PART)
    plain = choose_executor(None, native=None, why_not="it was not built")

    assert (Plan.NATIVE, PART, "it is the fastest") == (native.plan, native.native, native.because)
    assert (Plan.PLAIN, None) == (plain.plan, plain.native)
    assert "the native part cannot be used: it was not built" == plain.because


@pytest.mark.parametrize("plan", [Plan.PLAIN, Plan.OFF])
def test_another_one_is_chosen(plan: Plan) -> None:
    """Then nothing runs in C."""
    executor = choose_executor(plan, native=PART)

    assert (plan, None, "PROCESSOR_PLAN is set") == (executor.plan, executor.native, executor.because)


def test_native_is_chosen_and_not_there() -> None:
    """An error that says why, and what to do."""
    with pytest.raises(UsageError, match="it was not built") as raised:
        choose_executor(Plan.NATIVE, native=None, why_not="it was not built")

    assert "where a C compiler is" in (raised.value.hint or "")


@pytest.mark.parametrize("plan", [Plan.NATIVE, None])
def test_a_native_part_of_another_version(plan: Plan | None) -> None:
    """Is never used: its programs may be others."""
    other = replace(PART, version="0.0.9")
    if plan is Plan.NATIVE:
        with pytest.raises(UsageError, match=r"of version 0\.0\.9, and the program of"):
            choose_executor(plan, native=other)
    else:
        executor = choose_executor(plan, native=other)
        assert (Plan.PLAIN, None) == (executor.plan, executor.native)
        assert "of version 0.0.9" in executor.because
