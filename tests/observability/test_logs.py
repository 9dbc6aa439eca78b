"""Logs: one line an event, for people or machines, and never a secret."""

import io
import json
import logging

import pytest
import structlog

from processor.observability.logs import configure, mask_text
from processor.settings import MASK, SECRET_WORDS, KafkaSettings, LogFormat, LogLevel, LogSettings, Settings

log = structlog.get_logger()


class Terminal(io.StringIO):
    """Says that a person is looking."""

    def isatty(self) -> bool:
        return True


def test_no_terminal_means_json() -> None:
    """Each event is one line of JSON that begins with when, how bad and what, and holds the values given."""
    stream = io.StringIO()
    configure(LogSettings(), stream=stream, worker=1)

    log.info("rebalance", kind="assigned", partitions=2)
    log.warning("waiting\nfor the broker")

    first, second = map(json.loads, stream.getvalue().splitlines())
    assert ["at", "level", "event"] == list(first)[:3]
    assert ("info", "rebalance", "assigned", 2, 1) == tuple(
        first[name] for name in ("level", "event", "kind", "partitions", "worker")
    )
    assert "waiting\nfor the broker" == second["event"]


def test_a_terminal_means_text() -> None:
    """On a terminal the line is for people."""
    stream = Terminal()
    configure(LogSettings(), stream=stream)

    log.info("rebalance", kind="assigned")

    assert "rebalance" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


@pytest.mark.parametrize(("value", "coloured"), [("1", False), ("0", False), ("", True), (None, True)])
def test_no_color_is_obeyed(monkeypatch: pytest.MonkeyPatch, value: str | None, coloured: bool) -> None:
    """NO_COLOR, when it is set to anything: no escapes on a terminal (https://no-color.org)."""
    if value is None:
        monkeypatch.delenv("NO_COLOR", raising=False)
    else:
        monkeypatch.setenv("NO_COLOR", value)
    stream = Terminal()
    configure(LogSettings(), stream=stream)

    log.warning("rebalance", kind="assigned")

    assert coloured == ("\x1b" in stream.getvalue())


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8", "utf-16"])
def test_logs_are_json_in_any_encoding(encoding: str) -> None:
    """What the encoding has not is escaped as JSON does, so that each line can be read."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="backslashreplace")
    configure(LogSettings(), stream=stream)

    log.warning("Grüße 😀", tenant="€\udce9")
    stream.flush()

    assert isinstance(stream.buffer, io.BytesIO)
    line = json.loads(stream.buffer.getvalue().decode(encoding))
    assert ("Grüße 😀", "€\udce9") == (line["event"], line["tenant"])


def test_lines_below_the_level_are_not_written() -> None:
    """`log.level` is the least."""
    stream = io.StringIO()
    configure(LogSettings(level=LogLevel.WARNING), stream=stream)

    log.info("quiet")

    assert "" == stream.getvalue()


def test_libraries_log_in_the_same_format() -> None:
    """A warning that a library gives to `logging` is one line of JSON too; its chatter is left out."""
    stream = io.StringIO()
    configure(LogSettings(format=LogFormat.JSON), stream=stream)

    logging.getLogger("httpx").info("GET …")
    logging.getLogger("httpx").warning("slow: %s s", 3)

    (line,) = stream.getvalue().splitlines()
    assert ("slow: 3 s", "warning") == (json.loads(line)["event"], json.loads(line)["level"])


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_password_is_never_written(form: str) -> None:
    """Under a secret name, inside a text, in an address, in settings and in a traceback: masked everywhere."""
    stream = Terminal()
    configure(LogSettings.model_validate({"format": form}), stream=stream)
    settings = Settings(kafka=KafkaSettings(common={"sasl.password": "hunter2"}))

    log.info("start", password="hunter2", settings=settings, kafka=settings.kafka, common=settings.kafka.common)
    log.info("failed", detail="sasl.password=hunter2 refused", url="https://ada:hunter2@registry/x")
    password = "hunter2"
    try:
        raise RuntimeError(f"password: {password}")
    except RuntimeError:
        log.exception("crash")

    assert "RuntimeError" in stream.getvalue()
    assert "hunter" not in stream.getvalue()


@pytest.mark.parametrize("word", SECRET_WORDS)
def test_every_secret_word_is_masked(word: str) -> None:
    """In the name of a field, in one inside a field, and in a text; in lower case and in upper case."""
    stream = io.StringIO()
    configure(LogSettings(format=LogFormat.JSON), stream=stream)
    for name in (f"x_{word}", f"X_{word.upper()}_Y"):
        log.info("start", **{name: "hunter2"}, inside={"list": [{name: "hunter2"}]})
    for text in (f"{word}=hunter2 refused", f"refused {word.upper()}: 'hunter2'", f'{{"x_{word}": "hunter2"}}'):
        assert MASK in mask_text(text)
        log.info(text)

    assert "hunter" not in stream.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        "encodedKey=8a8e867d",
        "password reset at 12:00",
        "at 12:00:01",
        "no such topic: banking.events",
        "https://registry/subjects",
        "key=value",
    ],
)
def test_ordinary_texts_are_not_masked(text: str) -> None:
    """Masking leaves ordinary texts as they are."""
    assert text == mask_text(text)


class Writes(io.StringIO):
    """A stream that keeps each write apart."""

    def __init__(self) -> None:
        super().__init__()
        self.each: list[str] = []

    def write(self, text: str) -> int:
        self.each.append(text)
        return len(text)


def test_a_line_is_one_write() -> None:
    """Workers share one stderr: a line written in two pieces is mixed with another worker's."""
    stream = Writes()
    configure(LogSettings(format=LogFormat.JSON), stream=stream)
    structlog.get_logger().info("one", field=1)

    assert 1 == len(stream.each)
    assert stream.each[0].endswith("}\n")
