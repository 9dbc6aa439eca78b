"""When templates on the disk are used, and when the set from before stays; without a broker."""

import time
from pathlib import Path

import pytest

from processor.domain.record import TemplateId
from processor.settings import Settings
from processor.templates import reload
from processor.templates.load import SHIPPED, LoadResult, load_templates
from processor.templates.reload import Reload, TemplateReloader
from processor.wire.reader_schemas import Schemas
from tests.support.builders import TENANT, make_output_topics, schemas

TEXT = (SHIPPED / "loan-repayment-email.toml").read_text().partition("[[sample]]")[0]


@pytest.fixture(autouse=True)
def _scan_without_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reload, "SCAN_INTERVAL_S", 0.0)


def write(directory: Path, subject: str, *, version: int = 1, name: str = "one") -> None:
    """A template with this subject."""
    text = TEXT.replace('name = "Loan repayment received"', f'name = "Repayment {name}"')
    text = text.replace('id = "loan-repayment-email"', f'id = "{name}"').replace("version = 1", f"version = {version}")
    (directory / f"{name}.toml").write_text(text.replace("Payment received", subject))


def make_reloader(directory: Path) -> TemplateReloader:
    """A reloader that uses the templates of the directory as it is now."""
    return TemplateReloader(Settings(tenant=TENANT, templates_dir=directory), schemas(), lambda _: make_output_topics())


def next_reload(reloader: TemplateReloader) -> Reload | None:
    """What the loop gets of a change: a new set, or nothing and the reason in `refused`."""
    before, deadline = reloader.refused, time.monotonic() + 20
    while time.monotonic() < deadline:
        if (change := reloader.take_reload()) is not None or reloader.refused != before:
            return change
        time.sleep(0.02)
    raise AssertionError("no change was found")


def subjects(reloader: TemplateReloader) -> list[str]:
    """The beginnings of the subjects in use."""
    return [
        str(template.text.subject[0]).strip(": ") for template in reloader.templates.templates if template.text.subject
    ]


def test_a_new_version_is_used(tmp_path: Path) -> None:
    write(tmp_path, "first")
    reloader = make_reloader(tmp_path)
    write(tmp_path, "second", version=2)

    assert next_reload(reloader) is not None
    assert (["second"], "") == (subjects(reloader), reloader.refused)


def test_other_content_of_the_same_version_is_refused(tmp_path: Path) -> None:
    """Statuses would name two texts by one version, and a circuit breaker would stay open for the corrected one."""
    write(tmp_path, "first")
    reloader = make_reloader(tmp_path)
    write(tmp_path, "second")

    assert next_reload(reloader) is None
    assert ["first"] == subjects(reloader)
    assert (
        "one has other content under version 1, which was used before\nhint: raise its version, or undo the change"
        == reloader.refused
    )
    write(tmp_path, "second", version=2)
    assert next_reload(reloader) is not None
    assert (["second"], "") == (subjects(reloader), reloader.refused)


def test_a_set_read_during_a_change_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files change while they are read: what was read may be some of the old and some of the new."""
    for name in ("one", "two"):
        write(tmp_path, "first", name=name)
    reloader = make_reloader(tmp_path)
    load = load_templates
    seen: list[list[str]] = []

    def load_while_others_write(settings: Settings, known: Schemas) -> LoadResult:
        found = load(settings, known)
        if not seen:
            write(tmp_path, "third", version=3, name="two")
        seen.append([])
        return found

    monkeypatch.setattr(reload, "load_templates", load_while_others_write)
    for name in ("one", "two"):
        write(tmp_path, "second", version=2, name=name)

    assert next_reload(reloader) is not None
    assert ["second", "third"] == subjects(reloader)
    assert 2 == len(seen)


def test_a_bug_in_loading_keeps_the_set_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in use is whole: a bug in loading another set stops nothing."""
    write(tmp_path, "first")
    reloader = make_reloader(tmp_path)

    def broken(*_arguments: object) -> object:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(reload, "load_templates", broken)
    write(tmp_path, "second", version=2)

    assert next_reload(reloader) is None
    assert "an internal error while reading the templates: ZeroDivisionError('a bug')" == reloader.refused
    assert ["first"] == subjects(reloader)


def test_a_reload_keeps_texts_that_were_used_before(tmp_path: Path) -> None:
    """By this process and by those before it: the version of a way back has the text that it had."""
    write(tmp_path, "first", version=2)
    reloader = make_reloader(tmp_path)
    reloader.add_used_texts({(TemplateId("one"), 1): {b"a digest of another text"}})
    for subject, version in (("second", 1), ("third", 3), ("second", 2)):
        write(tmp_path, subject, version=version)
        fresh = next_reload(reloader)
        assert (version == 3) == (fresh is not None)
        if fresh is None:
            what = f"one has other content under version {version}, which was used before"
            assert reloader.refused.startswith(what)
    write(tmp_path, "first", version=2)

    assert next_reload(reloader) is not None
    assert (["first"], "") == (subjects(reloader), reloader.refused)


def test_a_token_is_rotated(tmp_path: Path) -> None:
    """The value of a webhook's header is another under the same version, and the set is another one."""
    hook = 'id = "hook"\nversion = 1\nname = "Hook"\ntype = "WEB_HOOK"\nevent = "FEE_APPLIED"\ntarget = "LOANS"\n'
    hook += 'content_type = "text/plain; charset=UTF-8"\nsubscription = "OPT_OUT"\nbody = "fee"\n'
    hook += '[webhook]\nurl = "https://hooks.example.com/"\nheaders = { X-Token = "one" }\n'
    (tmp_path / "hook.toml").write_text(hook)
    reloader = make_reloader(tmp_path)
    first = reloader.templates.digest
    (tmp_path / "hook.toml").write_text(hook.replace('"one"', '"two"'))

    assert next_reload(reloader) is not None
    assert first != reloader.templates.digest
    (tmp_path / "hook.toml").write_text(hook.replace("X-Token", "X-Key"))
    assert next_reload(reloader) is None
    assert reloader.refused.startswith("hook has other content under version 1")
