"""Templates that change while the engine runs: loaded whole in a thread, and used from between two batches on.

Non-obvious: a scan loads the files once they are the same as at the scan before, and counts when they are still the
same afterwards, so that no set is used that never was on the disk as a whole. A template with another text than those
that were used under its version is refused: statuses name the version, and a circuit breaker is reset by a new one.
The topics that a set needs are read in the same thread, so that the loop never waits.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from processor.background import PeriodicCall
from processor.domain.output_topics import OutputTopics
from processor.domain.record import TemplateId
from processor.domain.template import TemplateSet
from processor.errors import FatalError, UnavailableError
from processor.settings import Settings
from processor.templates.load import load_templates, require_usable
from processor.templates.used_texts import UsedTexts, refuse_changed_texts, text_digest
from processor.wire.reader_schemas import Schemas

log = structlog.get_logger()

SCAN_INTERVAL_S = 1.0
RETRY_INTERVAL_S = 10.0  # a refused set is loaded again, as what it needs may be there by now

Fingerprint = frozenset[tuple[str, int, int, int]]
"""Name, time of change, size and inode of each file: another fingerprint, another content."""


@dataclass(frozen=True, slots=True)
class Reload:
    """A new set, and the topics as they are with it."""

    templates: TemplateSet
    output_topics: OutputTopics


@dataclass(frozen=True, slots=True)
class _Scan:
    """One look at the directory. `loaded`: its files were loaded; the result is a new set (`reload`), why they are
    `refused`, or neither where they are what is in use."""

    fingerprint: Fingerprint
    loaded: bool
    reload: Reload | None = None
    refused: str = ""


class TemplateReloader:
    """The templates in use, and the scans of their directory. Not thread-safe; nothing but the constructor blocks."""

    def __init__(
        self, settings: Settings, schemas: Schemas, read_output_topics: Callable[[TemplateSet], OutputTopics]
    ) -> None:
        """Loads the templates; UsageError when they cannot be used. `read_output_topics` may block, and raises as
        `kafka.topic_state.read_output_topics`. The shipped templates are not scanned again."""
        self._settings = settings
        self._schemas = schemas
        self._read_output_topics = read_output_topics
        self._directory = settings.templates_dir
        self._last_scanned = fingerprint(self._directory)
        self.templates = require_usable(load_templates(settings, schemas))
        while (changed := fingerprint(self._directory)) != self._last_scanned:  # what was loaded may be half of each
            self._last_scanned = changed
            self.templates = require_usable(load_templates(settings, schemas))
        self._last_loaded = self._last_scanned
        self._scan: PeriodicCall[_Scan] = PeriodicCall(
            name="templates", interval_s=SCAN_INTERVAL_S, first_after_s=SCAN_INTERVAL_S
        )
        self._retry_at = 0.0
        self._used_texts: dict[tuple[TemplateId, int], set[bytes]] = {}
        self._remember_texts(self.templates)
        self.refused = ""  #: Why what is on the disk is not what is used; empty when it is.

    def add_used_texts(self, used: UsedTexts) -> None:
        """From now on no reload may have another text than those of `used` under a version that is in it."""
        for version, texts in used.items():
            self._used_texts.setdefault(version, set()).update(texts)

    def take_reload(self) -> Reload | None:
        """A new set, once it is loaded and may be used; from then on it is `templates`. None, most of the time."""
        finished = None if self._directory is None else self._scan.poll(self._scan_directory)
        if finished is None:
            return None
        try:
            scan = finished.result()
        except UnavailableError as unavailable:
            log.debug("template reload deferred", cause=str(unavailable))
            return None
        self._apply(scan)
        return scan.reload

    def _apply(self, scan: _Scan) -> None:
        self._last_scanned = scan.fingerprint
        if scan.loaded:
            self._last_loaded = scan.fingerprint
            self._retry_at = time.monotonic() + RETRY_INTERVAL_S
            if scan.refused and scan.refused != self.refused:
                log.error("templates not reloaded", cause=scan.refused, template_set=self.templates.digest)
            self.refused = scan.refused
        if scan.reload is not None:
            log.info("templates reloaded", template_set=scan.reload.templates.digest, before=self.templates.digest)
            self.templates = scan.reload.templates
            self._remember_texts(self.templates)

    def _remember_texts(self, templates: TemplateSet) -> None:
        for template in templates.templates:
            self._used_texts.setdefault((template.id, template.version), set()).add(text_digest(template.content))

    def _scan_directory(self) -> _Scan:
        """Load the files if they differ from those loaded last and have not changed since the scan before. Blocks."""
        found = fingerprint(self._directory)
        retry = bool(self.refused) and time.monotonic() >= self._retry_at
        if found != self._last_scanned or (found == self._last_loaded and not retry):
            return _Scan(found, loaded=False)
        try:
            templates = require_usable(load_templates(self._settings, self._schemas))
            if (changed := fingerprint(self._directory)) != found:  # what was loaded may be half of each
                return _Scan(changed, loaded=False)
            refuse_changed_texts(templates, self._used_texts)
            if templates.digest == self.templates.digest:
                return _Scan(found, loaded=True)
            return _Scan(found, loaded=True, reload=Reload(templates, self._read_output_topics(templates)))
        except FatalError as fatal:
            return _Scan(found, loaded=True, refused=str(fatal))
        except UnavailableError:
            raise
        except Exception as bug:  # the set in use is whole, and this one can wait until the bug is fixed
            log.exception("template reload crashed")
            return _Scan(found, loaded=True, refused=f"an internal error while reading the templates: {bug!r}")


def fingerprint(directory: Path | None) -> Fingerprint:
    """What identifies the content of `directory`, folders below it too. Empty when it cannot be read."""
    files = []
    folders = [] if directory is None else [str(directory)]
    while folders:  # os.walk of Python 3.11 calls itself for each folder within a folder
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                    continue
                with suppress(OSError):  # deleted since, or a link to nowhere
                    status = entry.stat()
                    files.append((entry.path, status.st_mtime_ns, status.st_size, status.st_ino))
    return frozenset(files)
