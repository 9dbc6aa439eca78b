"""Templates that change while the engine runs: read whole in a thread, and taken between two batches or not at all.

Non-obvious: files are read when they have not changed for a look, and what was read counts when they have not changed
meanwhile, so that no set is used that never was on the disk as a whole. A template with another text than those that
were used under its version is refused: statuses name the version, and a breaker is reset by a new one. What a set
needs of the broker (the topics of its streams) is asked for in the same thread, so that the loop never waits.
"""

import os
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from processor.background import call_in_thread
from processor.domain.output_topics import OutputTopics
from processor.domain.record import TemplateId
from processor.domain.template import TemplateSet
from processor.errors import FatalError, UnavailableError
from processor.settings import Settings
from processor.templates.load import load_templates, require_usable
from processor.templates.used_texts import UsedTexts, refuse_changed_texts, text_digest
from processor.wire.schema import Schemas

log = structlog.get_logger()

LOOK_S = 1.0
AGAIN_S = 10.0  # a refused set is looked at again, as what it needs may be there by now

Fingerprint = frozenset[tuple[str, int, int, int]]
"""Name, time of change, size and inode of each file: another stamp, another content."""


@dataclass(frozen=True, slots=True)
class Reload:
    """A set that is whole, and the topics as they are with it."""

    templates: TemplateSet
    layout: OutputTopics


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a look found. `read`: the files were read; then there is a set, or what keeps it from being used, or both
    are missing: what is on the disk is what is used."""

    stamp: Fingerprint
    read: bool
    fresh: Reload | None = None
    refused: str = ""


class TemplateReloader:
    """The templates in use, and the eye on their directory. Not thread-safe; nothing but the constructor blocks."""

    def __init__(
        self, settings: Settings, schemas: Schemas, read_output_topics: Callable[[TemplateSet], OutputTopics]
    ) -> None:
        """Reads the templates; UsageError when they cannot be used. `read_output_topics` may block, and raises as
        `engine.topics.read_output_topics`. The shipped templates are not looked at again."""
        self._settings = settings
        self._schemas = schemas
        self._read_layout = read_output_topics
        self._directory = settings.templates_dir
        self._read = self._seen = fingerprint(self._directory)
        self._looking: Future[_Seen] | None = None
        self._look_at = time.monotonic() + LOOK_S
        self._again_at = 0.0
        self.templates = require_usable(load_templates(settings, schemas))
        while (changed := fingerprint(self._directory)) != self._seen:  # what was read may be half of each
            self._read = self._seen = changed
            self.templates = require_usable(load_templates(settings, schemas))
        self._used: dict[tuple[TemplateId, int], set[bytes]] = {}
        self._note_texts(self.templates)
        self.refused = ""  #: Why what is on the disk is not what is used; empty when it is.

    def hold_to(self, used: UsedTexts) -> None:
        """From now on no template may have another text than those of `used` under its version. UsageError when one of
        the templates in use has."""
        refuse_changed_texts(self.templates, used)
        for version, texts in used.items():
            self._used.setdefault(version, set()).update(texts)

    def poll(self) -> Reload | None:
        """A new set, once it is whole; from then on it is `templates`. None, most of the time."""
        now = time.monotonic()
        if self._looking is None:
            if self._directory is not None and now >= self._look_at:
                self._looking = call_in_thread(self._look, name="templates")
            return None
        if not self._looking.done():
            return None
        looked, self._looking = self._looking, None
        self._look_at = now + LOOK_S
        try:
            seen = looked.result()
        except UnavailableError as unavailable:
            log.debug("templates cannot be judged now", cause=str(unavailable))
            return None
        self._seen = seen.stamp
        if seen.read:
            self._read = seen.stamp
            self._again_at = now + AGAIN_S
            if seen.refused and seen.refused != self.refused:
                log.error("templates not reloaded", cause=seen.refused, template_set=self.templates.digest)
            self.refused = seen.refused
        if seen.fresh is not None:
            log.info("templates reloaded", template_set=seen.fresh.templates.digest, before=self.templates.digest)
            self.templates = seen.fresh.templates
            self._note_texts(self.templates)
        return seen.fresh

    def _note_texts(self, templates: TemplateSet) -> None:
        for template in templates.templates:
            self._used.setdefault((template.id, template.version), set()).add(text_digest(template.content))

    def _look(self) -> _Seen:
        stamp = fingerprint(self._directory)
        again = bool(self.refused) and time.monotonic() >= self._again_at
        if stamp != self._seen or (stamp == self._read and not again):
            return _Seen(stamp, read=False)
        try:
            templates = require_usable(load_templates(self._settings, self._schemas))
            if (changed := fingerprint(self._directory)) != stamp:  # what was read may be half of each
                return _Seen(changed, read=False)
            refuse_changed_texts(templates, self._used)
            if templates.digest == self.templates.digest:
                return _Seen(stamp, read=True)
            return _Seen(stamp, read=True, fresh=Reload(templates, self._read_layout(templates)))
        except FatalError as error:
            return _Seen(stamp, read=True, refused=str(error))
        except UnavailableError:
            raise
        except Exception as error:  # our fault; the set in use is whole, and this one can wait until we are mended
            log.exception("templates could not be judged")
            return _Seen(stamp, read=True, refused=f"an error of ours while reading the templates: {error!r}")


def fingerprint(directory: Path | None) -> Fingerprint:
    """What the files of `directory` look like, those in folders below it too. Empty when it cannot be looked at."""
    found = []
    folders = [] if directory is None else [str(directory)]
    while folders:  # os.walk of Python 3.11 calls itself for each folder within a folder
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                    continue
                with suppress(OSError):  # gone since, or a link to nowhere
                    status = entry.stat()
                    found.append((entry.path, status.st_mtime_ns, status.st_size, status.st_ino))
    return frozenset(found)
