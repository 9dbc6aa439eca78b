"""Which executor runs the plans, and scans outputs: the best there is, or the one that an operator chose."""

from dataclasses import dataclass
from functools import partial
from importlib.metadata import version

from processor.errors import UsageError
from processor.mapping.options import Plan
from processor.native import NATIVE, WHY_NOT_NATIVE, NativePart
from processor.wire.native_scan import native_scan
from processor.wire.plain_scan import plain_scan
from processor.wire.scanned_fields import MakeScan


@dataclass(frozen=True, slots=True)
class Executor:
    """What `plan` runs with: `native` for NATIVE, else None. `because` says why it is this one, for people."""

    plan: Plan
    because: str
    native: NativePart | None = None


def scan_maker(chosen: Plan | None) -> MakeScan | None:
    """What makes scans of outputs for PROCESSOR_PLAN; None: nothing scans them. Where native is chosen, and the native
    part cannot be used, `plain` does: only what maps events has to be as it was chosen."""
    executor = choose_executor(None if chosen is Plan.NATIVE else chosen)
    if executor.plan is Plan.OFF:
        return None
    return plain_scan if executor.native is None else partial(native_scan, native=executor.native)


def choose_executor(
    chosen: Plan | None, *, native: NativePart | None = NATIVE, why_not: str = WHY_NOT_NATIVE
) -> Executor:
    """The executor for PROCESSOR_PLAN. UsageError where that is native, and the native part is not there or of another
    version than the program."""
    if native is not None and native.version != version("processor"):
        why_not = f"it is of version {native.version}, and the program of {version('processor')}"
        native = None
    if chosen is Plan.NATIVE and native is None:
        raise UsageError(
            f"PROCESSOR_PLAN is native, and the native part cannot be used: {why_not}",
            hint="install the program where a C compiler is, or leave PROCESSOR_PLAN out",
        )
    if chosen is not None:
        return Executor(chosen, "PROCESSOR_PLAN is set", native if chosen is Plan.NATIVE else None)
    if native is not None:
        return Executor(Plan.NATIVE, "it is the fastest", native)
    return Executor(Plan.PLAIN, f"the native part cannot be used: {why_not}")
