"""What events are mapped with, built beside a group on a real broker: past events get the outcomes that they got."""

from contextlib import ExitStack
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from confluent_kafka.admin import AdminClient
from prometheus_client import CollectorRegistry

from processor.domain.event import SourceEvent
from processor.domain.outcome import Processed
from processor.domain.reference import Table
from processor.engine.mapping_parts import LocalParts, MappingParts, TableRestore, build_mapping, read_server_parts
from processor.engine.past_operation import claim_past_store
from processor.errors import UsageError
from processor.kafka.clients import source_record
from processor.mapping.decode_record import decode_record
from processor.mapping.map import map_event
from processor.observability.metrics import Metrics
from processor.observability.signals import Shutdown
from processor.templates.load import read_templates, require_usable
from tests.support.builders import TENANT
from tests.support.clients import logged
from tests.support.events import repayment
from tests.support.installation import Installation, create_installation
from tests.support.reference_rows import BLOCKED, CLIENT

pytestmark = pytest.mark.kafka


def local_parts(installation: Installation, templates_dir: Path | None = None) -> LocalParts:
    """As a command reads them."""
    templates = require_usable(read_templates(templates_dir, tenant=TENANT, schemas=installation.schemas))
    return LocalParts(installation.settings, installation.schemas, ZoneInfo("UTC"), templates)


def build(local: LocalParts, stack: ExitStack, *, progress: list[str] | None = None) -> MappingParts:
    """As an operation on the past builds it."""
    shutdown = Shutdown()
    store = stack.enter_context(claim_past_store(local.settings, "replay-20261129T075501Z-3f2a91c0"))
    restore = TableRestore(store, Metrics(CollectorRegistry()), (progress if progress is not None else []).append)
    return build_mapping(local, read_server_parts(local, shutdown), restore, shutdown=shutdown, stack=stack)


def test_past_events_get_the_outcomes_that_they_got(bootstrap_servers: str, topic_prefix: str, tmp_path: Path) -> None:
    """With the tables in a store of its own, and no other group and no transaction beside the one of `run`."""
    installation = create_installation(bootstrap_servers, topic_prefix, state_dir=tmp_path / "state")
    installation.produce_row(Table.CONTACTS, CLIENT, BLOCKED)
    installation.produce_events([repayment(0)])
    installation.run()
    progress: list[str] = []
    with ExitStack() as stack:
        parts = build(local_parts(installation), stack, progress=progress)
        (event,) = installation.read(installation.events)
        decoded = decode_record(source_record(event, installation.events), parts.context, schema_of=parts.schema_of)
        assert isinstance(decoded, SourceEvent)
        outcome = map_event(decoded, parts.context, suspended=frozenset(), duplicate_of=None)

    assert isinstance(outcome, Processed)
    written = {(topic, r.key(), r.value()) for topic in installation.outputs for r in installation.read(topic)}
    assert written == {(output.topic, output.key, output.value) for output in outcome.outputs}
    assert [parts.context.templates.digest] == [*parts.published.keys]
    assert all(text.startswith("reference tables, records to read: ") for text in progress)
    stores = [folder.name for folder in (tmp_path / "state" / "tables").iterdir() if folder.is_dir()]
    assert 2 == len(stores)
    assert 1 == sum(name.startswith(f"{installation.group}_past-") for name in stores)
    admin = AdminClient(logged({"bootstrap.servers": bootstrap_servers}))
    groups = [group.group_id for group in admin.list_consumer_groups().result(10).valid]
    assert [installation.group] == [group for group in groups if group.startswith(topic_prefix)]


def test_a_text_that_was_changed_under_its_version_is_refused(
    bootstrap_servers: str, topic_prefix: str, tmp_path: Path
) -> None:
    """As `run` refuses it: statuses would name a version for two texts."""
    text = (Path(__file__).parents[2] / "processor/shipped/loan-repayment-email.toml").read_text().partition("[[sam")[0]
    for name, content in (("a", text), ("b", text.replace("Payment received", "Other"))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "loan-repayment-email.toml").write_text(content)
    installation = create_installation(
        bootstrap_servers, topic_prefix, state_dir=tmp_path / "state", templates_dir=tmp_path / "a"
    )
    installation.produce_events([repayment(0)])
    installation.run()
    with ExitStack() as stack:
        build(local_parts(installation, tmp_path / "a"), stack)
    with ExitStack() as stack, pytest.raises(UsageError, match="has other content under version 1"):
        build(local_parts(installation, tmp_path / "b"), stack)
