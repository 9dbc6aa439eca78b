"""What a bench has found, for people: the tables of docs/performance/README.md and its plots, made of the raw figures.

`python -m tests.bench.report` makes them again, of the newest raw figures.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from tests.bench.arrival import FIXED, HALF

PERFORMANCE: Final = Path(__file__).parents[2] / "docs" / "performance"
BEGIN: Final = "<!-- made by `python -m tests.bench.report`, from here -->"
END: Final = "<!-- to here -->"
NO_RUN: Final = "No run is kept yet: `make bench` makes one."
RIVALS: Final = ("copied", "go", "kafka-streams", "quix")  # whom the others are set against
BASELINE: Final = "no-transactions"
LATENCY_RIVALS: Final = (BASELINE, "kafka-streams-10ms")
CHECKS_OF_A_START: Final = 1.5
"""A start should take no longer than so many checks of the same templates, and a second."""

Line = Mapping[str, Any]
Raw = Mapping[str, Any]
"""`date`, `command`, `machine`, `versions`, `settings`. Of the contenders: `not_here`; `throughput` and `latency`, a
line for each run; of others `lines`."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Of the runs of one contender."""

    median: float
    low: float
    high: float

    def text(self, digits: int | None) -> str:
        """For a cell of a table, with so many decimals; None: to three significant digits, as ratios have it."""
        form = ",.3g" if digits is None else f",.{digits}f"
        return f"{self.median:{form}} ({self.low:{form}}–{self.high:{form}})"


def spread(values: Sequence[float]) -> Spread:
    """Of at least one value."""
    return Spread(median(values), min(values), max(values))


def by_round(lines: Iterable[Line], figure: str, **where: object) -> dict[int, float]:
    """Round -> a figure of the line that is so; a run that was void has none."""
    return {
        line["round"]: line[figure]
        for line in lines
        if figure in line and all(line[name] == value for name, value in where.items())
    }


def ratios(figures: Mapping[int, float], others: Mapping[int, float]) -> list[float]:
    """Each round's figure by that of another contender in the same round; a round that lacks one of them has none."""
    return [figure / others[number] for number, figure in figures.items() if number in others]


def cell(values: Sequence[float], digits: int | None) -> str:
    """Median and spread, as `Spread.text`; a dash for no values."""
    return spread(values).text(digits) if values else "–"


def contenders(lines: Iterable[Line]) -> list[str]:
    """Their names, each once; those that do the real work stand behind what limits them."""
    return sorted({line["contender"] for line in lines}, key=lambda name: (name not in ("copied", BASELINE), name))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of Markdown."""
    cells = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(row) + " |" for row in cells]


# ---------------------------------------------------------------------------------------------------------------------
# Tables of the contenders


def throughput_table(lines: Sequence[Line]) -> list[str]:
    """A row for each contender: how much it does, beside the others of the same round, and what it costs."""
    names = contenders(lines)
    rivals = [name for name in RIVALS if name in names]
    head = ["Contender", "events/s", *(f"× {rival}" for rival in rivals), "CPU µs/event", "first commit s", "peak MB"]
    rows = []
    for name in names:
        rounds = by_round(lines, "events_per_s", contender=name)
        against = [ratios(rounds, by_round(lines, "events_per_s", contender=rival)) for rival in rivals]
        costs = (("cpu_us_per_event", 1), ("first_commit_s", 1), ("peak_mb", 0))
        rows.append(
            [
                name,
                cell([*rounds.values()], 0),
                *("1" if rival == name else cell(each, None) for rival, each in zip(rivals, against, strict=True)),
                *(cell([*by_round(lines, figure, contender=name).values()], digits) for figure, digits in costs),
            ]
        )
    return table(head, rows)


def latency_table(lines: Sequence[Line]) -> list[str]:
    """A row for each contender, number of partitions and rate."""
    rivals = [name for name in LATENCY_RIVALS if name in contenders(lines)]
    head = ["Partitions", "Contender", "events/s", "p50 ms", "p99 ms", *(f"p99 × {rival}" for rival in rivals)]
    rows = []
    for partitions in sorted({line["partitions"] for line in lines}):
        for load in (FIXED, HALF):
            theirs = {
                rival: by_round(lines, "p99", contender=rival, partitions=partitions, load=load) for rival in rivals
            }
            for name in contenders(lines):
                where = {"contender": name, "partitions": partitions, "load": load}
                rate = by_round(lines, "rate", **where)
                if not rate:
                    continue
                p50, p99 = (by_round(lines, figure, **where) for figure in ("p50", "p99"))
                half = "" if load == FIXED else ", half of its most"
                rows.append(
                    [
                        str(partitions),
                        name,
                        f"{median(rate.values()):,.0f}{half}",
                        cell([*p50.values()], 0),
                        cell([*p99.values()], 0),
                        *("1" if name == rival else cell(ratios(p99, theirs[rival]), None) for rival in rivals),
                    ]
                )
    return table(head, rows)


def void_runs(raw: Raw) -> list[str]:
    """A line for each contender that was not here or had a run without figures, with the first reason."""
    reasons = {name: f"not here: {reason}" for name, reason in raw["not_here"].items()}
    for line in (*raw["throughput"], *raw["latency"]):
        for kind in ("difference", "error"):
            if kind in line:
                first = line[kind].splitlines()[0]
                reasons.setdefault(line["contender"], f"round {line['round']} has no figures, {kind}: {first}")
    return [f"- {name}: {reason}" for name, reason in reasons.items()]


# ---------------------------------------------------------------------------------------------------------------------
# Tables of the processor alone


def mix_table(lines: Sequence[Line]) -> list[str]:
    """What the check before the rounds has found, and a row for each load."""
    rounds = {load: by_round(lines, "outputs_per_s", load=load) for load in ("simple", "mix")}
    costs = (("events_per_s", 0), ("cpu_us_per_output", 1), ("first_commit_s", 1), ("peak_mb", 0))
    head = ["Load", "outputs/s", "× simple", "events/s", "CPU µs/output", "first commit s", "peak MB"]
    rows = [
        [
            load,
            cell([*figures.values()], 0),
            "1" if load == "simple" else cell(ratios(figures, rounds["simple"]), None),
            *(cell([*by_round(lines, figure, load=load).values()], digits) for figure, digits in costs),
        ]
        for load, figures in rounds.items()
    ]
    checked = [
        f"Of the mix, {line['compared']:,} events were mapped by both executors, to the same bytes: "
        f"{line['outputs_per_event']:.2f} records of output an event; plans map {100 * line['planned_ratio']:.1f} %."
        for line in lines
        if "compared" in line
    ]
    return [*checked, "", *table(head, rows)]


def start_table(lines: Sequence[Line]) -> list[str]:
    """One row, of at least one round; a start is set against the check of the same round."""
    first, check = by_round(lines, "first_commit_s"), by_round(lines, "check_s")
    over = [seconds - CHECKS_OF_A_START * check[number] for number, seconds in first.items()]
    figures = [cell([*check.values()], 2), cell([*first.values()], 2), cell(ratios(first, check), None), cell(over, 2)]
    templates = max(line["templates"] for line in lines)
    beyond = f"first commit − {CHECKS_OF_A_START} × check, s"
    head = ["Templates", "`processor check` s", "first commit s", "× check", beyond]
    return table(head, [[str(templates), *figures]])


def memory_table(lines: Sequence[Line]) -> list[str]:
    """A row for the run; its samples are in the raw figures."""
    head = ["Load", "events", "MB at a quarter", "MB at the end", "highest MB", "bytes an event", "seconds"]
    return table(
        head,
        [
            [
                line["load"],
                f"{line['events']:,}",
                *(f"{line[figure]:,.0f}" for figure in ("settled_mb", "last_mb", "peak_mb")),
                f"{line['bytes_per_event']:.2f}",
                f"{line['seconds']:,.0f}",
            ]
            for line in lines
            if "bytes_per_event" in line
        ],
    )


def steps_table(lines: Sequence[Line]) -> list[str]:
    """For each number of partitions and variant of the settings, its rounds' median: of each step mean, p50 and p99."""
    steps = next((list(line["steps"]) for line in lines if "steps" in line), [])
    head = ["Partitions", "Variant", "records a batch", *steps]
    rows = []
    for partitions, variant in dict.fromkeys((line["partitions"], line["variant"]) for line in lines):
        runs = [
            line for line in lines if "steps" in line and (line["partitions"], line["variant"]) == (partitions, variant)
        ]
        if runs:
            cells = [
                " / ".join(
                    f"{median(run['steps'][step][figure] for run in runs):.1f}" for figure in ("mean", "p50", "p99")
                )
                for step in steps
            ]
            records = median(run["records_per_batch"] for run in runs)
            rows.append([str(partitions), variant, f"{records:.0f}", *cells])
    return table(head, rows)


def scale_table(lines: Sequence[Line]) -> list[str]:
    """A row for each size; its cost is set against that of the first size of its scale in the same round."""
    head = ["What grows", "to", "events/s", "CPU µs/event", "× the first"]
    rows, first = [], dict[str, int]()
    for scale, size in sorted({(line["scale"], line["size"]) for line in lines}):
        costs = by_round(lines, "cpu_us_per_event", scale=scale, size=size)
        least = by_round(lines, "cpu_us_per_event", scale=scale, size=first.setdefault(scale, size))
        rates = by_round(lines, "events_per_s", scale=scale, size=size)
        against = "1" if size == first[scale] else cell(ratios(costs, least), None)
        rows.append([scale, f"{size:,}", cell([*rates.values()], 0), cell([*costs.values()], 1), against])
    return table(head, rows)


SECTIONS: Final[Mapping[str, tuple[str, Callable[[Sequence[Line]], list[str]]]]] = {  # kind -> title, its table
    "mix": ("The mix beside the simple load", mix_table),
    "start": ("From the start to the first commit", start_table),
    "memory": ("Memory over many events", memory_table),
    "scale": ("How the cost of an event grows", scale_table),
    "steps": ("Latency by step, ms: mean / p50 / p99", steps_table),
}
"""Of the commands that measure the processor alone; `kind` begins the names of their raw figures."""


# ---------------------------------------------------------------------------------------------------------------------
# The page


def block(raw: Raw | None, others: Mapping[str, Raw]) -> str:
    """What stands between the two marks of the page. `others` are raw figures by their kind, of SECTIONS."""
    if raw is None:
        return NO_RUN
    parts = [
        *_head("bench", raw),
        ["### Throughput", "", *throughput_table(raw["throughput"]), "", "![events a second](throughput.svg)"],
    ]
    if raw["latency"]:
        parts.append(["### Latency", "", *latency_table(raw["latency"]), "", "![latency](latency.svg)"])
    if void := void_runs(raw):
        parts.append(["### Without figures", "", *void])
    for kind, (title, table_of) in SECTIONS.items():
        if kind in others:
            lines = others[kind]["lines"]
            parts += [[f"### {title}"], *_head(kind, others[kind]), table_of(lines)]
            if reasons := [str(line[word]) for line in lines for word in ("difference", "error") if word in line]:
                parts.append([f"- without figures: {reason.splitlines()[0]}" for reason in reasons])
    return "\n\n".join("\n".join(part) for part in parts)


def _head(kind: str, raw: Raw) -> list[list[str]]:
    """How raw figures were made."""
    facts = ", ".join(f"{name} {value}" for name, value in {**raw["machine"], **raw["versions"]}.items())
    settings = ", ".join(f"{name} {value}" for name, value in raw["settings"].items())
    return [
        [f"Run of {raw['date']}: [raw figures]({kind}-{raw['date']}.json). `{raw['command']}`", "", f"{facts}."],
        [f"{settings}. Median (lowest–highest) of the rounds."],
    ]


def with_block(page: str, raw: Raw | None, others: Mapping[str, Raw]) -> str:
    """The page with the tables of these figures. ValueError when it lacks the marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, behind = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page lacks {BEGIN} or {END}")
    return f"{before}{BEGIN}\n\n{block(raw, others)}\n\n{END}{behind}"


# ---------------------------------------------------------------------------------------------------------------------
# Plots


def draw_throughput(lines: Sequence[Line], file: Path) -> None:
    """Bars of events a second, with the spread."""
    names = [name for name in contenders(lines) if by_round(lines, "events_per_s", contender=name)]
    spreads = [spread([*by_round(lines, "events_per_s", contender=name).values()]) for name in names]
    _draw_bars(file, names, {"": spreads}, label="events/s, exactly once", log=False)


def draw_latency(lines: Sequence[Line], file: Path) -> None:
    """Bars of p50 and p99 at the rate that is the same for all, with the spread."""
    bars: dict[str, list[tuple[str, Spread]]] = {"p50": [], "p99": []}
    for partitions in sorted({line["partitions"] for line in lines}):
        for name in contenders(lines):
            for figure, each in bars.items():
                rounds = by_round(lines, figure, contender=name, partitions=partitions, load=FIXED)
                if rounds:
                    each.append((f"{name}, {partitions} partitions", spread([*rounds.values()])))
    labels = [label for label, _ in bars["p50"]]
    groups = {figure: [each for _, each in pairs] for figure, pairs in bars.items()}
    rates = {line["rate"] for line in lines if line["load"] == FIXED}
    label = f"ms from event to read_committed reader, at {'/'.join(f'{rate:,.0f}' for rate in rates)} events/s"
    _draw_bars(file, labels, groups, label=label, log=True)


def _draw_bars(
    file: Path, names: Sequence[str], groups: Mapping[str, Sequence[Spread]], *, label: str, log: bool
) -> None:
    """Horizontal bars, the first name on top. The same figures make the same file."""
    import matplotlib as mpl  # noqa: PLC0415  takes a second, and nothing else here needs it
    from matplotlib.figure import Figure  # noqa: PLC0415

    with mpl.rc_context({"svg.hashsalt": "processor", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(8, 0.6 + 0.35 * len(names) * len(groups)), layout="constrained")
        axes = figure.subplots()
        height = 0.8 / len(groups)
        for number, (group, spreads) in enumerate(groups.items()):
            at = [place + number * height for place in range(len(names))]
            errors = [[each.median - each.low for each in spreads], [each.high - each.median for each in spreads]]
            medians = [each.median for each in spreads]
            axes.barh(at, medians, height, xerr=errors, label=group, capsize=2, align="edge")
        axes.set_yticks([place + 0.4 for place in range(len(names))], names)
        axes.invert_yaxis()
        axes.set_xlabel(label)
        if log:
            axes.set_xscale("log")
            axes.set_xlim(left=1)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        if len(groups) > 1:
            axes.legend()
        figure.savefig(file, metadata={"Date": None})


# ---------------------------------------------------------------------------------------------------------------------
# Files


def newest(folder: Path, kind: str = "bench") -> Raw | None:
    """The raw figures of the newest run of a kind that is kept there."""
    files = sorted(folder.glob(f"{kind}-*.json"))
    raw: Raw | None = json.loads(files[-1].read_text()) if files else None
    return raw


def newest_others(folder: Path) -> dict[str, Raw]:
    """Those of the kinds of SECTIONS that there are."""
    return {kind: raw for kind in SECTIONS if (raw := newest(folder, kind)) is not None}


def write_report(folder: Path) -> None:
    """Make the page's tables and the plots of the newest raw figures in `folder`; a folder without a page gets ours."""
    raw = newest(folder)
    page = folder / "README.md"
    text = (page if page.exists() else PERFORMANCE / "README.md").read_text()
    page.write_text(with_block(text, raw, newest_others(folder)))
    if raw is not None:
        draw_throughput(raw["throughput"], folder / "throughput.svg")
        if raw["latency"]:
            draw_latency(raw["latency"], folder / "latency.svg")


if __name__ == "__main__":
    write_report(PERFORMANCE)
