"""Logs on stderr, one line an event: for people on a terminal, JSON elsewhere, with nothing secret in them."""

import codecs
import logging
import os
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, TextIO

import structlog
from structlog.typing import Processor

from processor.settings import MASK, SECRET_WORDS, LogFormat, LogSettings, Properties, is_secret

_SECRET_IN_TEXT: Final = re.compile(
    rf"(?i)((?:{'|'.join(SECRET_WORDS)})[\"']?\s*[=:]\s*)(\"[^\"]*\"|'[^']*'|[^\s,;&}}]+)"
)
_LOGIN_IN_URL: Final = re.compile(r"(?<=://)[^/@\s]+@")


def configure(settings: LogSettings, *, worker: int | None = None, stream: TextIO | None = None) -> None:
    """Send the logs of the whole process, the libraries' too, to `stream` (stderr). Called once, by the entry.

    `worker` is the number of a worker under `--workers`, and is put into each line.
    """
    stream = stream or sys.stderr
    console = settings.format is LogFormat.CONSOLE or (settings.format is LogFormat.AUTO and stream.isatty())
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        _add_worker(worker),
        _mask_secrets,
    ]
    # Plain tracebacks: rich ones show local variables, and with them whatever they hold.
    texts: list[Processor] = [structlog.processors.format_exc_info, _mask_exception]
    renderers: list[Processor]
    if console:
        console_renderer = structlog.dev.ConsoleRenderer(
            colors=stream.isatty() and not os.environ.get("NO_COLOR"),  # https://no-color.org
            timestamp_key="at",
            sort_keys=False,
            exception_formatter=structlog.dev.plain_traceback,
        )
        renderers = [*texts, console_renderer]
    else:
        # Escapes of JSON where the stream's encoding has not all characters: its own escapes are not JSON's.
        ascii_only = codecs.lookup(stream.encoding or "utf-8").name != "utf-8"
        renderers = [*texts, _order_fields, structlog.processors.JSONRenderer(default=str, ensure_ascii=ascii_only)]
    structlog.configure(
        processors=[*shared, *renderers],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        # One write a line: workers share their supervisor's stderr, and a line break written apart mixes their lines.
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    _adopt_libraries(shared, renderers, stream)


def _adopt_libraries(shared: list[Processor], renderers: list[Processor], stream: TextIO) -> None:
    """Write what libraries log by `logging` in the same format, from warnings up."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)


def _add_worker(worker: int | None) -> Processor:
    def add_worker(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if worker is not None:
            event["worker"] = worker
        return event

    return add_worker


def _mask_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Values under a secret name are masked, and passwords inside texts (a broker's error, a URL) too."""
    for name, value in event.items():
        event[name] = _mask(name, value)
    return event


def _mask(name: object, value: Any) -> Any:
    if isinstance(name, str) and is_secret(name):
        return MASK
    match value:
        case str():
            return mask_text(value)
        case Properties():
            return value.masked()
        case Mapping():
            return {inner_name: _mask(inner_name, inner) for inner_name, inner in value.items()}
        case list() | tuple():
            return [_mask("", item) for item in value]
        case _:
            return value


def _mask_exception(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if isinstance(event.get("exception"), str):
        event["exception"] = mask_text(event["exception"])
    return event


def _order_fields(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Put time, level and event first: people read it too."""
    first = {name: event[name] for name in ("at", "level", "event") if name in event}
    return {**first, **event}


def mask_text(text: str) -> str:
    """`text` without what follows `password=` and the like, and without user and password in an address."""
    if "=" in text or ":" in text:
        return _LOGIN_IN_URL.sub(f"{MASK}@", _SECRET_IN_TEXT.sub(rf"\g<1>{MASK}", text))
    return text
