"""Bugs planted in plans: `python -m tests.equality.planted` shows what finds each of them; the exit code is 1 for one
that is missed.

Each is planted in a copy of the tree. There its test has to fail, which passes in the copy without it. A small campaign
finds most of them too; an end of a range is hardly ever met by chance. One bug, by its test alone:
`python -m tests.equality.planted --only zone-day --examples 0`.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from hatch_build import compile_c, write_c

ROOT: Final = Path(__file__).parent.parent.parent
COPIED: Final = ("processor", "schemas", "tests", "pyproject.toml", "hatch_build.py")
EXAMPLES: Final = 6_000
PER_ROUND: Final = 500
SEED: Final = 1
_FAILED: Final = "FAILED "


@dataclass(frozen=True, slots=True)
class PlantedBug:
    """`before` stands once in `file` of `processor/`; the bug has `after` in its place. `test` finds it."""

    description: str
    file: str
    before: str
    after: str
    test: str


BUGS: Final[Mapping[str, PlantedBug]] = {
    "date-range": PlantedBug(
        "a date before the year 1 is accepted",
        "wire/scan_expressions.py",
        r"[\x80-\xff][\x00-\x56]",
        r"[\x80-\xff][\x00-\x7f]",
        "tests/wire/test_scan.py::test_days_and_times_at_their_limits",
    ),
    "money-zeros": PlantedBug(
        "money ends without the zeros of its currency",
        "mapping/scanned_values.py",
        '.rstrip("0").ljust(read_digits(slots), "0")',
        '.rstrip("0")',
        "tests/mapping/test_scanned_event.py::test_money_has_the_digits_of_its_currency",
    ),
    "currency-digits": PlantedBug(
        "every currency has two digits",
        "mapping/scanned_values.py",
        "_DIGITS_OF_CODE.get(code, DEFAULT_CURRENCY_DIGITS)",
        "DEFAULT_CURRENCY_DIGITS",
        "tests/mapping/test_scanned_event.py::test_money_has_the_digits_of_its_currency",
    ),
    "other-context": PlantedBug(
        "what stands in XML is escaped as in HTML",
        "mapping/plain_text.py",
        "EscapeContext.XML: _unless_unchanged(EscapeContext.XML)",
        "EscapeContext.XML: _unless_unchanged(EscapeContext.HTML)",
        "tests/mapping/test_text_plan.py::test_tables_in_each_context",
    ),
    "no-escape": PlantedBug(
        "`&` counts as unchanged in HTML",
        "mapping/text_plan.py",
        "[^&<>\\\"'\\r\\x00]*+",
        "[^<>\\\"'\\r\\x00]*+",
        "tests/mapping/test_text_plan.py::test_unchanged_signs_are_unchanged",
    ),
    "other-hole": PlantedBug(
        "the source's offset stands where its partition should",
        "mapping/event_plan.py",
        "encoders.text(position.topic.encode()), encoders.long(position.partition)",
        "encoders.text(position.topic.encode()), encoders.long(position.offset)",
        "tests/mapping/test_event_plan.py::test_duplicates_and_named_templates",
    ),
    "null-branch": PlantedBug(
        "null is taken for the first branch of every union",
        "wire/scan_expressions.py",
        "bytes([2 * choice.null_index]), bytes([2 * (1 - choice.null_index)])",
        'b"\\x00", b"\\x02"',
        "tests/wire/test_scan.py::test_writers_of_other_versions",
    ),
    "not-utf8": PlantedBug(
        "texts are not held against UTF-8",
        "wire/plain_scan.py",
        " or (has_texts and not are_utf8(texts_of(matched)))",
        "",
        "tests/wire/test_scan.py::test_a_broken_text_before_a_long_one",
    ),
    "key-twice": PlantedBug(
        "a map may have a key twice",
        "wire/plain_scan.py",
        "len(set(keys)) == count and ",
        "",
        "tests/wire/test_scan.py::test_a_key_that_occurs_twice",
    ),
    "zone-day": PlantedBug(
        "this week and this month are those of the day in UTC, not in the installation's zone",
        "mapping/condition_plan.py",
        "period(day_of(read_now(slots), time_zone))",
        "period(read_now(slots).date())",
        "tests/mapping/test_condition_plan.py::test_each_operator_on_each_type",
    ),
    "other-route": PlantedBug(
        "of two credit officers the other one is the recipient",
        "mapping/check_plan.py",
        "for name in OFFICER_HOLDERS)",
        "for name in reversed(OFFICER_HOLDERS))",
        "tests/mapping/test_draft_plan.py::test_each_kind_of_recipient",
    ),
    "boundary": PlantedBug(
        "BETWEEN leaves out its ends",
        "mapping/condition_plan.py",
        "bool(low <= value <= high)",
        "bool(low < value < high)",
        "tests/mapping/test_condition_plan.py::test_each_operator_on_each_type",
    ),
    "native-date-range": PlantedBug(
        "in C a date before the year 1 is accepted",
        "_native.pyx",
        "(0x56 if at[0] & 1 else 0x7F)",
        "0x7F",
        "tests/wire/test_scan.py::test_days_and_times_at_their_limits",
    ),
    "native-not-utf8": PlantedBug(
        "in C texts are not held against UTF-8",
        "_native.pyx",
        "not is_utf8(cursor.at, cursor.at + size)",
        "False",
        "tests/wire/test_scan.py::test_a_broken_text_before_a_long_one",
    ),
    "native-key-twice": PlantedBug(
        "in C a map may have a key twice",
        "_native.pyx",
        "is_same_text(keys[other], start)",
        "False",
        "tests/wire/test_scan.py::test_a_key_that_occurs_twice",
    ),
    "native-null-branch": PlantedBug(
        "in C null is taken for the first branch of every union",
        "_native.pyx",
        "branch == 2 * (1 - (op.a & 1))",
        "branch == 2",
        "tests/wire/test_scan.py::test_writers_of_other_versions",
    ),
    "native-money-zeros": PlantedBug(
        "in C money ends without the zeros of its currency",
        "_native.pyx",
        "range(scale - behind, least_digits)",
        "range(0)",
        "tests/mapping/test_native_text.py::test_amounts",
    ),
    "native-percent": PlantedBug(
        "in C `~` is encoded in addresses",
        "_native.pyx",
        'byte in (c"_", c".", c"-", c"~")',
        'byte in (c"_", c".", c"-")',
        "tests/mapping/test_native_text.py::test_texts",
    ),
    "native-limit": PlantedBug(
        "in C a text may have more characters than the limit",
        "_native.pyx",
        "count_characters(buffer.data, buffer.data + buffer.size) <= self.limit",
        "True",
        "tests/mapping/test_native_text.py::test_the_limit_is_in_characters",
    ),
    "native-eid": PlantedBug(
        "in C a stream event's id lacks the variant of a uuid",
        "_native.pyx",
        "HEX[digit & 3 | 8]",
        "HEX[digit]",
        "tests/mapping/test_event_plan.py::test_shipped_events_and_templates",
    ),
    "native-time": PlantedBug(
        "in C a time in JSON has its minutes where its seconds should be",
        "_native.pyx",
        "two_digits(text + 17, rest // 1000 % 60)",
        "two_digits(text + 17, rest // 60000 % 60)",
        "tests/mapping/test_event_plan.py::test_shipped_events_and_templates",
    ),
    "native-key": PlantedBug(
        "in C another ordering key is written at once",
        "_native.pyx",
        "if text.size == 0 or not is_equal(text, key):",
        "if text.size == 0:",
        "tests/mapping/test_native_event.py::test_records_that_are_no_ordinary_ones",
    ),
    "native-tenant": PlantedBug(
        "in C another tenant's event is written at once",
        "_native.pyx",
        "if not is_equal(source.tenant, self.tenant):",
        "if self.tenant is None:",
        "tests/mapping/test_native_event.py::test_records_that_are_no_ordinary_ones",
    ),
    "native-bound": PlantedBug(
        "in C an amount at the end of a condition's range is outside",
        "_native.pyx",
        "number >= low)",
        "number > low)",
        "tests/mapping/test_native_event.py::test_amounts_at_the_bounds_of_a_condition",
    ),
    "native-stream-partition": PlantedBug(
        "in C a stream event is in its source's partition",
        "_native.pyx",
        "source.partition % partitions",
        "source.partition",
        "tests/mapping/test_native_event.py::test_channels",
    ),
    "native-missing": PlantedBug(
        "in C what is missing of a message is missing of the next",
        "_native.pyx",
        "self.missing = ()",
        "self.missing = self.missing or ()",
        "tests/mapping/test_native_event.py::test_what_is_missing_of_one_event_is_not_of_the_next",
    ),
    "native-left-over": PlantedBug(
        "in C a refused event leaves the outputs of its first templates",
        "_native.pyx",
        "del outputs[count:]",
        "pass",
        "tests/mapping/test_native_event.py::test_one_template_that_fails",
    ),
    "native-holders": PlantedBug(
        "in C an event may have both client and group",
        "_native.pyx",
        "if not self.least_holders <= holders <= self.most_holders:",
        "if holders < self.least_holders:",
        "tests/mapping/test_native_event.py::test_both_holders_or_none",
    ),
    "native-before-1970": PlantedBug(
        "in C milliseconds before 1970 are rounded up",
        "_native.pyx",
        " - (micros % 1000 < 0)",
        "",
        "tests/mapping/test_native_event.py::test_events_of_other_times",
    ),
    "native-topic-limit": PlantedBug(
        "in C an output may be larger than its topic takes",
        "_native.pyx",
        "if size > <Py_ssize_t>limit:",
        "if size < 0:",
        "tests/mapping/test_native_event.py::test_outputs_that_do_not_fit",
    ),
    "native-long-sms": PlantedBug(
        "in C a text may be longer than its channel takes",
        "_native.pyx",
        "parts.body.characters() > self.body_limit",
        "False",
        "tests/mapping/test_native_event.py::test_a_text_that_is_too_long_for_its_channel",
    ),
    "native-hex": PlantedBug(
        "in C any small letter is a hexadecimal digit",
        "_native.pyx",
        """(<uint8_t>(at[index] - c"a") > 5)""",
        """(<uint8_t>(at[index] - c"a") > 25)""",
        "tests/wire/test_scan.py::test_digits_of_a_key",
    ),
    "native-other-frame": PlantedBug(
        "in C a run goes on with a record of another schema",
        "_native.pyx",
        "memcmp(frame[0], PyBytes_AS_STRING(value), FRAME_BYTES) != 0",
        "False",
        "tests/mapping/test_native_event.py::test_a_run_ends_before_what_is_refused",
    ),
    "native-run-limit": PlantedBug(
        "in C a run goes on behind the record that reaches the limit",
        "_native.pyx",
        "and output_bytes < limit_bytes:",
        "and output_bytes <= limit_bytes:",
        "tests/mapping/test_native_event.py::test_a_run_ends_with_the_record_that_reaches_the_limit",
    ),
    "native-kept-room": PlantedBug(
        "in C a text keeps the room of its largest message",
        "_native.pyx",
        "if buffer.capacity > MAX_KEPT_BUFFER_BYTES:",
        "if False:",
        "tests/mapping/test_native_event.py::test_buffers_of_a_large_message_shrink",
    ),
    "native-digest": PlantedBug(
        "in C the digest of a full block has another one behind it",
        "_native.pyx",
        "for (; size - done > 128; done += 128)",
        "for (; size - done >= 128; done += 128)",
        "tests/mapping/test_native_event.py::test_digests",
    ),
}
"""By the name that `--only` takes."""


def with_bug(bug: PlantedBug, text: str) -> str:
    """The text of the bug's file with the bug. ValueError where what it replaces does not stand there once."""
    if text.count(bug.before) != 1:
        raise ValueError(f"{bug.description}: {bug.file} does not have once: {bug.before}")
    return text.replace(bug.before, bug.after)


@contextmanager
def copied_tree(bug: PlantedBug | None) -> Iterator[Path]:
    """A copy of the tree with a bug, or without one."""
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        for name in COPIED:
            source, target = ROOT / name, Path(folder, name)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        if bug is not None:
            file = Path(folder, "processor", bug.file)
            file.write_text(with_bug(bug, file.read_text("utf-8")), "utf-8")
            if file.suffix == ".pyx":
                build_native(Path(folder))
        yield Path(folder)


def build_native(tree: Path, *more_options: str) -> None:
    """Build the native part of a copy, in the place of the one that was copied."""
    library = compile_c(write_c(tree), version("processor"), more_options=more_options)
    library.replace(tree / "processor" / library.name)


def failed_tests(tree: Path, tests: Collection[str]) -> list[str]:
    """The tests that fail in a copy, by their names."""
    command = (sys.executable, "-m", "pytest", "--quiet", "-p", "no:randomly", "--tb=no", "-rf", *tests)
    ran = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    lines = [line for line in ran.stdout.splitlines() if line.startswith(_FAILED)]
    return [line.removeprefix(_FAILED).partition(" - ")[0] for line in lines]


def campaign_result(tree: Path, examples: int) -> tuple[bool, str]:
    """Whether a campaign over a copy finds nothing, and its summary."""
    options = ("--examples", str(examples), "--round", str(PER_ROUND), "--seed", str(SEED), "--stop")
    ran = subprocess.run(
        (sys.executable, "-m", "tests.equality", *options), cwd=tree, capture_output=True, text=True, check=False
    )
    return ran.returncode == 0, ran.stdout.strip().rpartition("\n")[2] or ran.stderr[-500:]


def main(arguments: list[str] | None = None) -> int:
    """Plant each bug, and print what finds it; 1 when one is missed, or a test fails without any."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.equality.planted",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", choices=tuple(BUGS), help="one bug; not set: all")
    parser.add_argument("--examples", type=int, default=EXAMPLES, help="of each campaign; 0: tests alone")
    args = parser.parse_args(arguments)
    bugs = {name: bug for name, bug in BUGS.items() if args.only in (None, name)}
    missed = [check(None, {bug.test for bug in bugs.values()}, examples=args.examples)]
    for name, bug in bugs.items():
        print(f"{name}: {bug.description}")  # noqa: T201
        missed.append(check(bug, {bug.test}, examples=args.examples))
    return 1 if any(missed) else 0


def check(bug: PlantedBug | None, tests: Collection[str], *, examples: int) -> bool:
    """Whether `tests` miss `bug` or, without one, tests or campaign find something. Prints what each of them says."""
    with copied_tree(bug) as tree:
        failed = failed_tests(tree, tests)
        is_clean, summary = campaign_result(tree, examples) if examples else (bug is None, "")
    is_missed = not failed if bug is not None else bool(failed) or not is_clean
    more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
    print(f"  {'MISSED: ' if is_missed else ''}{failed[0] if failed else 'no test'}{more} fails")  # noqa: T201
    if examples:
        print(f"  {summary}", flush=True)  # noqa: T201
    return is_missed


if __name__ == "__main__":
    sys.exit(main())
