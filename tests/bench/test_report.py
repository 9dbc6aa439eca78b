"""The bench's summary: spreads, ratios within a round, tables, and the page that is made of the newest figures."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.bench.raw import command_line, output_folder
from tests.bench.report import (
    BEGIN,
    END,
    NO_RUN,
    PERFORMANCE,
    Spread,
    by_round,
    cell,
    latency_table,
    memory_table,
    mix_table,
    newest,
    newest_others,
    ratios,
    spread,
    start_table,
    steps_table,
    throughput_table,
    void_runs,
    with_block,
    write_report,
)


def throughput(number: int, contender: str, events_per_s: float, **more: float) -> dict[str, Any]:
    """A line of a run."""
    figures = {"cpu_us_per_event": 20.0, "first_commit_s": 2.0, "peak_mb": 100.0}
    return {"round": number, "contender": contender, "events_per_s": events_per_s, **figures, **more}


def latency(number: int, contender: str, p99: float, **more: object) -> dict[str, Any]:
    """A line of a stretch at the fixed rate, with 2 partitions."""
    where = {"round": number, "contender": contender, "partitions": 2, "load": "fixed", "rate": 1000.0}
    return {**where, "p50": p99 / 2, "p99": p99, **more}


def make_raw(**more: object) -> dict[str, Any]:
    """Raw figures of two contenders."""
    return {
        "date": "2026-11-30",
        "command": "python -m tests.bench",
        "machine": {"cores": "2"},
        "versions": {"Python": "3.11"},
        "settings": {"rounds": 2},
        "not_here": {},
        "throughput": [throughput(0, "copied", 1000.0), throughput(0, "ours", 500.0)],
        "latency": [latency(0, "ours", 40.0)],
        **more,
    }


def test_spread_is_median_lowest_and_highest() -> None:
    """Whatever the order."""
    assert Spread(3.0, 1.0, 9.0) == spread([9.0, 1.0, 3.0])
    assert "3 (1–9)" == cell([9.0, 1.0, 3.0], 0)
    assert "0.0142 (0.014–12.3)" == cell([0.0142, 0.01399, 12.34], None)
    assert "–" == cell([], 0)


def test_ratios_are_of_the_same_round() -> None:
    """A round that is slow for both contenders leaves their ratio as it is; one that lacks a figure has no ratio."""
    assert [0.5, 0.5] == ratios({0: 50.0, 2: 70.0, 1: 5.0}, {1: 10.0, 0: 100.0})


def test_void_runs_have_no_figure() -> None:
    """A line with a difference or an error is in no spread."""
    lines = [
        throughput(0, "go", 10.0),
        {"round": 1, "contender": "go", "difference": "body"},
        throughput(0, "quix", 7.0),
    ]

    assert {0: 10.0} == by_round(lines, "events_per_s", contender="go")


def test_throughput_table() -> None:
    """A row for each contender, what is copied first; each round is set against the same round of the others."""
    lines = [
        throughput(0, "ours", 500.0),
        throughput(0, "copied", 1000.0),
        throughput(1, "copied", 4000.0),
        throughput(1, "ours", 1000.0, peak_mb=300.0),
    ]

    assert [
        "| Contender | events/s | × copied | CPU µs/event | first commit s | peak MB |",
        "| --- | --- | --- | --- | --- | --- |",
        "| copied | 2,500 (1,000–4,000) | 1 | 20.0 (20.0–20.0) | 2.0 (2.0–2.0) | 100 (100–100) |",
        "| ours | 750 (500–1,000) | 0.375 (0.25–0.5) | 20.0 (20.0–20.0) | 2.0 (2.0–2.0) | 200 (100–300) |",
    ] == throughput_table(lines)


def test_latency_table() -> None:
    """Those it is set against are of the same round, number of partitions and rate; half of the most has none."""
    lines = [
        latency(0, "ours", 60.0),
        latency(0, "kafka-streams-10ms", 30.0),
        latency(0, "no-transactions", 20.0),
        latency(0, "ours", 80.0, load="half", rate=300),
    ]

    assert [
        "| Partitions | Contender | events/s | p50 ms | p99 ms | p99 × no-transactions | p99 × kafka-streams-10ms |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| 2 | no-transactions | 1,000 | 10 (10–10) | 20 (20–20) | 1 | 0.667 (0.667–0.667) |",
        "| 2 | kafka-streams-10ms | 1,000 | 15 (15–15) | 30 (30–30) | 1.5 (1.5–1.5) | 1 |",
        "| 2 | ours | 1,000 | 30 (30–30) | 60 (60–60) | 3 (3–3) | 2 (2–2) |",
        "| 2 | ours | 300, half of its most | 40 (40–40) | 80 (80–80) | – | – |",
    ] == latency_table(lines)


def test_what_has_no_figures_is_named() -> None:
    """Once for each contender, with the first reason."""
    raw = make_raw(
        not_here={"go": "no go"},
        throughput=[
            {"round": 0, "contender": "quix", "difference": "body is 1"},
            {"round": 1, "contender": "quix", "error": "ended"},
        ],
    )

    assert ["- go: not here: no go", "- quix: round 0 has no figures, difference: body is 1"] == void_runs(raw)


def mixed(number: int, load: str, outputs_per_s: float) -> dict[str, Any]:
    """A line of a run of the mix, or of the simple load beside it."""
    figures = {"events_per_s": outputs_per_s / 3, "cpu_us_per_output": 9.0, "first_commit_s": 1.0, "peak_mb": 7.0}
    return {"round": number, "load": load, "outputs_per_s": outputs_per_s, **figures}


def test_mix_table() -> None:
    """Records of output are compared within a round; the check says how much of the mix is planned."""
    lines = [
        {"compared": 2000, "outputs_per_event": 9.72, "planned_ratio": 0.987},
        mixed(0, "simple", 900.0),
        mixed(0, "mix", 600.0),
        mixed(1, "mix", 300.0),
        mixed(1, "simple", 600.0),
    ]

    assert "records of output an event; plans map 98.7 %." in mix_table(lines)[0]
    assert [
        "",
        "| Load | outputs/s | × simple | events/s | CPU µs/output | first commit s | peak MB |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| simple | 750 (600–900) | 1 | 250 (200–300) | 9.0 (9.0–9.0) | 1.0 (1.0–1.0) | 7 (7–7) |",
        "| mix | 450 (300–600) | 0.583 (0.5–0.667) | 150 (100–200) | 9.0 (9.0–9.0) | 1.0 (1.0–1.0) | 7 (7–7) |",
    ] == mix_table(lines)[1:]


def test_start_table() -> None:
    """What is over one and a half checks is of the same round."""
    lines = [
        {"round": 0, "templates": 500, "check_s": 2.0, "first_commit_s": 3.5},
        {"round": 1, "templates": 500, "check_s": 1.0, "first_commit_s": 3.0},
    ]

    assert "| 500 | 1.50 (1.00–2.00) | 3.25 (3.00–3.50) | 2.38 (1.75–3) | 1.00 (0.50–1.50) |" == start_table(lines)[-1]


def test_memory_table() -> None:
    """Samples have no row."""
    lines: list[dict[str, Any]] = [
        {"at_s": 5.0, "committed": 100, "resident_mb": 180.0},
        {
            "load": "simple",
            "bytes_per_event": 0.25,
            "settled_mb": 180.0,
            "last_mb": 181.0,
            "peak_mb": 182.0,
            "events": 3_000_000,
            "seconds": 200.0,
        },
    ]

    assert ["| simple | 3,000,000 | 180 | 181 | 182 | 0.25 | 200 |"] == memory_table(lines)[2:]


def stepped(number: int, send_ms: float) -> dict[str, Any]:
    """A line of a run that measured one step."""
    figures = {"mean": send_ms, "p50": send_ms, "p99": 2 * send_ms}
    return {
        "round": number,
        "partitions": 2,
        "variant": "default",
        "records_per_batch": 20.0,
        "steps": {"send": figures, "all": figures},
    }


def test_steps_table() -> None:
    """The median of the rounds, of each figure by itself; a run without figures does not count."""
    lines = [
        stepped(0, 1.0),
        stepped(1, 3.0),
        stepped(2, 9.0),
        {"round": 3, "partitions": 2, "variant": "default", "error": "it fell behind"},
    ]

    assert [
        "| Partitions | Variant | records a batch | send | all |",
        "| --- | --- | --- | --- | --- |",
        "| 2 | default | 20 | 3.0 / 3.0 / 6.0 | 3.0 / 3.0 / 6.0 |",
    ] == steps_table(lines)


def test_the_page_has_what_was_measured_alone() -> None:
    """A section for each kind of raw figures, with the reason of a run that has none."""
    raw = make_raw(lines=[stepped(0, 1.0), {"partitions": 2, "variant": "default", "error": "it ended\nfor a reason"}])
    page = with_block(f"{BEGIN}\n{END}", make_raw(), {"steps": raw})

    assert "### Latency by step, ms: mean / p50 / p99\n" in page
    assert "[raw figures](steps-2026-11-30.json)" in page
    assert "\n- without figures: it ended\n" in page


def test_the_page_keeps_what_is_written_by_hand() -> None:
    """Only what stands between the marks is made."""
    page = f"# Before\n{BEGIN}\nold\n{END}\nBehind\n"

    assert f"# Before\n{BEGIN}\n\n{NO_RUN}\n\n{END}\nBehind\n" == with_block(page, None, {})
    assert with_block(page, make_raw(), {}) == with_block(with_block(page, make_raw(), {}), make_raw(), {})
    with pytest.raises(ValueError, match="the page lacks"):
        with_block("# Before", None, {})


def test_the_page_is_of_the_newest_figures() -> None:
    """`python -m tests.bench.report` would change no line of docs/performance/README.md."""
    page = (PERFORMANCE / "README.md").read_text()

    assert page == with_block(page, newest(PERFORMANCE), newest_others(PERFORMANCE))


def test_report_is_made_of_the_newest_raw_figures(tmp_path: Path) -> None:
    """The page's tables and both plots; made twice they are the same."""
    (tmp_path / "README.md").write_text(f"{BEGIN}\n{END}\n")
    (tmp_path / "bench-2026-11-29.json").write_text(json.dumps(make_raw(throughput=[], latency=[])))
    (tmp_path / "bench-2026-11-30.json").write_text(json.dumps(make_raw()))

    write_report(tmp_path)

    first = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert b"| ours | 500 (500\xe2\x80\x93500) | 0.5 " in first["README.md"]
    assert {"throughput.svg", "latency.svg"} < first.keys()
    write_report(tmp_path)
    assert first == {file.name: file.read_bytes() for file in tmp_path.iterdir()}


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """It is made, and its page is ours with its own tables."""
    folder = output_folder(str(tmp_path / "figures" / "today"))
    (folder / "bench-2026-11-30.json").write_text(json.dumps(make_raw()))

    write_report(folder)

    assert "| ours | 500 (500–500) | 0.5 " in (folder / "README.md").read_text()


@pytest.mark.parametrize("arguments", [["--mix", "--out", "/some/folder", "--rounds", "3"], ["--mix", "--rounds", "3"]])
def test_the_command_that_is_kept(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Names no folder of the machine."""
    monkeypatch.setattr("sys.argv", ["bench", *arguments])

    assert command_line().endswith(" --mix --rounds 3")
