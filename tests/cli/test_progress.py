"""Bars: on stderr alone, where that is a terminal, with how far a command is and at which rate."""

import time

import pytest

from processor.cli.output import print_line
from processor.cli.progress import phase_bar, tracking_bar
from tests.support.terminal import pretend_terminal


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that can show a bar."""
    pretend_terminal(monkeypatch, 100)
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.mark.usefixtures("terminal")
def test_what_is_written_meanwhile_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    """Each line, at once, and nothing of the bar; the bar says what, how many and how fast."""
    with tracking_bar() as track:
        for number in track("sending", range(4), 4):
            print_line(str(number))
            time.sleep(0.2)
    captured = capsys.readouterr()

    assert captured.out == "0\n1\n2\n3\n"
    assert "sending" in captured.err
    assert "/4" in captured.err
    assert "/s" in captured.err


@pytest.mark.usefixtures("terminal")
def test_phases_follow_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    """One that is done is taken away; the next one begins."""
    with phase_bar() as on_phase:
        for done in range(1, 4):
            on_phase("reading the outputs", done, 3)
        on_phase("mapping", 1, 2)
        time.sleep(0.3)
    captured = capsys.readouterr()

    assert captured.out == ""
    assert "mapping" in captured.err


def test_without_a_terminal_there_is_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    """Not a byte."""
    with tracking_bar() as track:
        assert [0, 1] == list(track("sending", range(2), 2))

    assert ("", "") == capsys.readouterr()
