"""What operators see of plans: metrics and log."""

from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from processor.domain.outcome import MappingPath, TemplateResult
from processor.domain.record import EventName, RecordPosition, SchemaId, TemplateId
from processor.engine import mapping_parts
from processor.engine.loop import run
from processor.engine.plan_reports import PlanReports
from processor.engine.status import EngineStatus
from processor.mapping.event_plan import EventPlan
from processor.mapping.event_plans import make_at_once
from processor.mapping.options import Plan
from processor.mapping.plan_observer import PlanDifference, PlanRefusal
from processor.observability.metrics import Metrics
from processor.settings import InputTopic
from tests.support.builders import EVENTS_TOPIC
from tests.support.events import repayment
from tests.support.executors import NEEDS_NATIVE
from tests.support.installation import create_installation


def test_refusals_are_counted_by_reason() -> None:
    """Each reason is there from the start, with 0."""
    registry = CollectorRegistry()
    reports = PlanReports(Metrics(registry))
    for reason in (PlanRefusal.CHECK, PlanRefusal.CHECK, PlanRefusal.FORM):
        reports.refused(reason)

    expected = dict.fromkeys(PlanRefusal, 0) | {PlanRefusal.CHECK: 2, PlanRefusal.FORM: 1}
    assert expected == {
        reason: registry.get_sample_value("processor_plan_refusals_total", {"reason": reason}) for reason in PlanRefusal
    }


def test_schemas_are_logged_once() -> None:
    """One that is refused is a warning for each reason, however often it is refused; one that is ready is no news."""
    reports = PlanReports(Metrics(CollectorRegistry()))
    with capture_logs() as lines:
        for reason in ("recursive", "recursive", "other"):
            reports.schema_refused(SchemaId(7), reason)
        reports.schema_ready(SchemaId(8))

    assert [
        {"event": "schema without a plan", "log_level": "warning", "schema_id": 7, "reason": "recursive"},
        {"event": "schema without a plan", "log_level": "warning", "schema_id": 7, "reason": "other"},
        {"event": "plan ready", "log_level": "debug", "schema_id": 8},
    ] == lines


def test_a_difference_is_counted_and_logged() -> None:
    """Where it is, of which templates, and what differs."""
    registry = CollectorRegistry()
    reports = PlanReports(Metrics(registry))
    position, event = RecordPosition(EVENTS_TOPIC, 3, 17), EventName("LOAN_REPAYMENT")
    with capture_logs() as lines:
        reports.differs(PlanDifference(position, event, (TemplateId("note"),), ("value of communications.status",)))

    assert 1 == registry.get_sample_value("processor_plan_differences_total")
    assert [
        {
            "event": "plan differs from the reference",
            "log_level": "error",
            "position": str(position),
            "event_name": "LOAN_REPAYMENT",
            "templates": ["note"],
            "differs": ["value of communications.status"],
        }
    ] == lines


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("changes", "executor", "because"),
    [
        pytest.param({}, "native", "it is the fastest", id="default", marks=NEEDS_NATIVE),
        pytest.param({"plan": Plan.PLAIN}, "plain", "PROCESSOR_PLAN is set", id="plain"),
        pytest.param({"plan": Plan.OFF}, "off", "PROCESSOR_PLAN is set", id="off"),
    ],
)
def test_run_says_how_it_maps(
    bootstrap_servers: str, topic_prefix: str, changes: dict[str, Any], executor: str, because: str
) -> None:
    """At the start; each record is counted by its path, and has a reason where the reference maps it though there are
    plans."""
    installation = create_installation(bootstrap_servers, topic_prefix, **changes)
    installation.produce_events([repayment(n) for n in range(8)])
    registry = CollectorRegistry()
    status = EngineStatus(Metrics(registry), events=installation.settings.topic(InputTopic.EVENTS), max_stall_s=60)
    with capture_logs() as lines:
        run(installation.settings, until_end=True, status=status)
    (line,) = [line for line in lines if line["event"] == "executor of plans"]
    by_path = {path: registry.get_sample_value("processor_events_total", {"path": path}) or 0 for path in MappingPath}
    refused = sum(
        registry.get_sample_value("processor_plan_refusals_total", {"reason": reason}) or 0 for reason in PlanRefusal
    )

    assert (executor, because) == (line["executor"], line["because"])
    assert {"reference", executor if executor != "off" else "reference"} >= {path for path, n in by_path.items() if n}
    assert 8 == sum(by_path.values())
    assert (0 if executor == "off" else by_path[MappingPath.REFERENCE]) == refused


@pytest.mark.kafka
@pytest.mark.parametrize(("share", "expected"), [(1.0, 8), (0.0, 0)])
def test_a_wrong_plan_in_production(
    bootstrap_servers: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch, share: float, expected: int
) -> None:
    """Of the records that are verified nothing of it is published, and each is counted."""
    right = EventPlan.map_templates

    def wrong(self: EventPlan, *args: Any, **options: Any) -> list[TemplateResult]:
        return [
            replace(result, outputs=tuple(output._replace(key=b"wrong") for output in result.outputs))
            for result in right(self, *args, **options) or []
        ]

    monkeypatch.setattr(EventPlan, "map_templates", wrong)
    monkeypatch.setattr(mapping_parts, "call_in_thread", lambda make, **_name: make_at_once(make))
    installation = create_installation(bootstrap_servers, topic_prefix, plan_verify=share)
    installation.produce_events([repayment(n) for n in range(8)])
    registry = CollectorRegistry()
    status = EngineStatus(Metrics(registry), events=installation.settings.topic(InputTopic.EVENTS), max_stall_s=60)
    run(installation.settings, until_end=True, status=status)
    keys = {record.key() for topic in installation.outputs for record in installation.read(topic)}

    assert expected == registry.get_sample_value("processor_plan_differences_total")
    assert expected == registry.get_sample_value("processor_plan_refusals_total", {"reason": "difference"})
    assert (not expected) == (b"wrong" in keys)
