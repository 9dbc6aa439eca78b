"""The pages that are made from the code."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tests.documents.commands import commands_page
from tests.documents.decisions import decisions_page
from tests.documents.files import files_page
from tests.documents.log_events import log_events_page
from tests.documents.metrics import metrics_page
from tests.documents.pages import DOCS, REFERENCE
from tests.documents.reasons import reasons_page
from tests.documents.settings import settings_page
from tests.documents.template_file import template_file_page
from tests.documents.template_rules import template_rules_page
from tests.documents.topics import topics_page

PAGES: Final[Mapping[Path, Callable[[], str]]] = {
    DOCS / "decisions" / "README.md": decisions_page,
    REFERENCE / "commands.md": commands_page,
    REFERENCE / "files.md": files_page,
    REFERENCE / "log-events.md": log_events_page,
    REFERENCE / "metrics.md": metrics_page,
    REFERENCE / "reasons.md": reasons_page,
    REFERENCE / "settings.md": settings_page,
    REFERENCE / "template-file.md": template_file_page,
    REFERENCE / "template-rules.md": template_rules_page,
    REFERENCE / "topics.md": topics_page,
}
