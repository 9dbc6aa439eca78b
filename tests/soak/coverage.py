"""What the iterations of a soak have covered, as a table; an empty cell is a proof that is missing."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tests.soak.duplicates import CASES
from tests.soak.faults import END_TXN_LOSSES, FaultKind
from tests.soak.iteration import LARGE_BATCH, Iteration, duplicate_label, registry_label
from tests.soak.proxy import EndTxnLoss
from tests.soak.registry import ODD_KINDS, REFUSED_KIND
from tests.soak.scenarios import BATCH_STEPS, OPEN_TRANSACTION_STEPS, RECOVERY_STEPS

RANDOM_MOMENT: Final = "random moment"
STEPS: Final = (*BATCH_STEPS, *RECOVERY_STEPS, *END_TXN_LOSSES.values(), RANDOM_MOMENT)
"""Where a worker is killed."""
ENVIRONMENT_CASES: Final = (
    *(registry_label(kind) for kind in (*ODD_KINDS, REFUSED_KIND)),
    *(duplicate_label(name) for name in CASES),
    LARGE_BATCH,
    str(FaultKind.WRONG_TENANT),
)
"""What the environment does in each iteration, beside the faults of its schedule."""


@dataclass
class CoverageTable:
    """Step × protocol: kills, and how many with an open transaction; lost EndTxn; the environment's cases."""

    iterations: Sequence[Iteration]
    protocols: Sequence[str]

    def kills(self, step: str, protocol: str) -> tuple[int, int]:
        """Kills at `step`, and how many of them left aborted records of an open transaction on the log."""
        kills = [
            (kill, iteration.aborted)
            for iteration in self.iterations
            if iteration.protocol == protocol
            for kill in iteration.kills
            if kill.step == step
        ]
        return len(kills), sum(kill.in_transaction(aborted) for kill, aborted in kills)

    def end_txn_count(self, loss: EndTxnLoss) -> int:
        """EndTxn at which a worker was killed or its connections were cut, over all protocols."""
        return sum(
            iteration.cut_end_txns[loss] + sum(kill.loss is loss for kill in iteration.kills)
            for iteration in self.iterations
        )

    def case_count(self, name: str, protocol: str) -> int:
        """How often one of `ENVIRONMENT_CASES` occurred."""
        return sum(iteration.injected[name] for iteration in self.iterations if iteration.protocol == protocol)

    def empty_cells(self, *, min_end_txn: int) -> list[str]:
        """Cells that prove nothing, in words."""
        cells = []
        for protocol in self.protocols:
            for step in STEPS:
                kills, in_transaction = self.kills(step, protocol)
                if kills == 0:
                    cells.append(f"{step} × {protocol}: no kill")
                elif in_transaction == 0 and step in (*OPEN_TRANSACTION_STEPS, END_TXN_LOSSES[EndTxnLoss.REQUEST]):
                    cells.append(f"{step} × {protocol}: no kill with an open transaction")
            cells += [
                f"{name} × {protocol}: never" for name in ENVIRONMENT_CASES if not self.case_count(name, protocol)
            ]
        for loss, name in END_TXN_LOSSES.items():
            if (count := self.end_txn_count(loss)) < min_end_txn:
                cells.append(f"{name}: {count} of {min_end_txn}")
        return cells

    def __str__(self) -> str:
        head = "".join(f"{f'{protocol}: kills / in transaction':>34}" for protocol in self.protocols)
        lines = [f"{'step':<22}{head}"]
        for step in STEPS:
            cells = [self.kills(step, protocol) for protocol in self.protocols]
            row = "".join(f"{f'{kills} / {in_transaction}':>34}" for kills, in_transaction in cells)
            lines.append(f"{step:<22}{row}")
        for loss, name in END_TXN_LOSSES.items():
            lines.append(f"{name}: {self.end_txn_count(loss)} in all, by kills and cut connections")
        lines.append(f"{'environment':<60}" + "".join(f"{f'{protocol}: count':>16}" for protocol in self.protocols))
        for name in ENVIRONMENT_CASES:
            counts = [self.case_count(name, protocol) for protocol in self.protocols]
            lines.append(f"{name:<60}" + "".join(f"{count:>16}" for count in counts))
        injected: Counter[str] = Counter()
        for iteration in self.iterations:
            injected += iteration.injected
        faults = [f"{name} {count}" for name, count in sorted(injected.items()) if name not in ENVIRONMENT_CASES]
        lines.append(f"faults injected: {', '.join(faults)}")
        return "\n".join(lines)

    def as_json(self, *, min_end_txn: int) -> dict[str, object]:
        """For the report."""
        return {
            "kills": {
                protocol: {
                    step: dict(zip(("kills", "inTransaction"), self.kills(step, protocol), strict=True))
                    for step in STEPS
                }
                for protocol in self.protocols
            },
            "environment": {
                protocol: {name: self.case_count(name, protocol) for name in ENVIRONMENT_CASES}
                for protocol in self.protocols
            },
            "endTxn": {loss.value: self.end_txn_count(loss) for loss in EndTxnLoss},
            "emptyCells": self.empty_cells(min_end_txn=min_end_txn),
        }
