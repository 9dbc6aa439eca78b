"""What operators see of plans: metrics and log."""

import structlog

from processor.domain.record import SchemaId
from processor.mapping.plan_observer import PlanDifference, PlanRefusal
from processor.observability.metrics import PLAN_DIFFERENCES, PLAN_REFUSALS, Metrics

log = structlog.get_logger()


class PlanReports:
    """A PlanObserver that counts and logs. Not thread-safe."""

    def __init__(self, metrics: Metrics) -> None:
        self._refusals = {reason: metrics[PLAN_REFUSALS].labels(reason) for reason in PlanRefusal}
        self._differences = metrics[PLAN_DIFFERENCES]
        self._logged: set[tuple[SchemaId, str]] = set()

    def refused(self, reason: PlanRefusal) -> None:
        """Counted at once, not after the commit: again when the batch is mapped again."""
        self._refusals[reason].inc()

    def schema_ready(self, schema_id: SchemaId) -> None:
        """Logged for debugging only, as it is the ordinary case."""
        log.debug("plan ready", schema_id=schema_id)

    def schema_refused(self, schema_id: SchemaId, reason: str) -> None:
        """Logged once for each reason: reloaded templates refuse it again."""
        if (schema_id, reason) not in self._logged:
            self._logged.add((schema_id, reason))
            log.warning("schema without a plan", schema_id=schema_id, reason=reason)

    def differs(self, difference: PlanDifference) -> None:
        """Logged as an error, without any value of the event."""
        self._differences.inc()
        log.error(
            "plan differs from the reference",
            position=str(difference.position),
            event_name=difference.event,
            templates=list(difference.templates),
            differs=list(difference.what),
        )
