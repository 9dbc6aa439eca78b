"""When templates on the disk are taken, and when the set from before stays; without a broker."""

import time
from pathlib import Path

import pytest

from processor.domain.record import TemplateId
from processor.settings import Settings
from processor.templates import reload
from processor.templates.load import SHIPPED, LoadResult, load_templates
from processor.templates.reload import Reload, TemplateReloader
from processor.wire.schema import Schemas
from tests.support.builders import TENANT, make_layout, schemas

TEXT = (SHIPPED / "loan-repayment-email.toml").read_text().partition("[[sample]]")[0]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reload, "LOOK_S", 0.0)


def write(directory: Path, subject: str, *, version: int = 1, name: str = "one") -> None:
    """A template with this subject."""
    text = TEXT.replace('name = "Loan repayment received"', f'name = "Repayment {name}"')
    text = text.replace('id = "loan-repayment-email"', f'id = "{name}"').replace("version = 1", f"version = {version}")
    (directory / f"{name}.toml").write_text(text.replace("Payment received", subject))


def reloads(directory: Path) -> TemplateReloader:
    """Templates in use, those of the directory as it is now."""
    return TemplateReloader(Settings(tenant=TENANT, templates_dir=directory), schemas(), lambda _: make_layout())


def polled(eye: TemplateReloader) -> Reload | None:
    """What the loop is given once the change was judged: a fresh set, or nothing and the reason in `refused`."""
    before, deadline = eye.refused, time.monotonic() + 20
    while time.monotonic() < deadline:
        if (fresh := eye.poll()) is not None or eye.refused != before:
            return fresh
        time.sleep(0.02)
    raise AssertionError("nothing was judged")


def subjects(eye: TemplateReloader) -> list[str]:
    """The beginnings of the subjects in use."""
    return [str(one.text.subject[0]).strip(": ") for one in eye.templates.templates if one.text.subject]


def test_a_new_version_is_taken(tmp_path: Path) -> None:
    write(tmp_path, "first")
    eye = reloads(tmp_path)
    write(tmp_path, "second", version=2)

    assert polled(eye) is not None
    assert (["second"], "") == (subjects(eye), eye.refused)


def test_other_content_of_the_same_version_is_refused(tmp_path: Path) -> None:
    """Statuses would name two texts by one version, and a breaker would stay open for the mended one."""
    write(tmp_path, "first")
    eye = reloads(tmp_path)
    write(tmp_path, "second")

    assert polled(eye) is None
    assert ["first"] == subjects(eye)
    assert (
        "one has other content under version 1, which was used before\nhint: raise its version, or undo the change"
        == eye.refused
    )
    write(tmp_path, "second", version=2)
    assert polled(eye) is not None
    assert (["second"], "") == (subjects(eye), eye.refused)


def test_a_set_that_never_was_on_the_disk_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files change while they are read: what was read may be some of the old and some of the new."""
    for name in ("one", "two"):
        write(tmp_path, "first", name=name)
    eye = reloads(tmp_path)
    read = load_templates
    seen: list[list[str]] = []

    def while_others_write(settings: Settings, own: Schemas) -> LoadResult:
        found = read(settings, own)
        if not seen:
            write(tmp_path, "third", version=3, name="two")
        seen.append([])
        return found

    monkeypatch.setattr(reload, "load_templates", while_others_write)
    for name in ("one", "two"):
        write(tmp_path, "second", version=2, name=name)

    assert polled(eye) is not None
    assert ["second", "third"] == subjects(eye)
    assert 2 == len(seen)


def test_our_own_fault_keeps_the_set_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in use is whole: nobody is stopped by a set that cannot be judged."""
    write(tmp_path, "first")
    eye = reloads(tmp_path)

    def broken(*_given: object) -> object:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(reload, "load_templates", broken)
    write(tmp_path, "second", version=2)

    assert polled(eye) is None
    assert "an error of ours while reading the templates: ZeroDivisionError('ours')" == eye.refused
    assert ["first"] == subjects(eye)


def test_a_reload_is_held_to_what_was_used_before(tmp_path: Path) -> None:
    """By this process and by those before it: the version of a way back has the text that it had."""
    write(tmp_path, "first", version=2)
    eye = reloads(tmp_path)
    eye.hold_to({(TemplateId("one"), 1): {b"a digest of another text"}})
    for subject, version in (("second", 1), ("third", 3), ("second", 2)):
        write(tmp_path, subject, version=version)
        fresh = polled(eye)
        assert (version == 3) == (fresh is not None)
        if fresh is None:
            what = f"one has other content under version {version}, which was used before"
            assert eye.refused.startswith(what)
    write(tmp_path, "first", version=2)

    assert polled(eye) is not None
    assert (["first"], "") == (subjects(eye), eye.refused)


def test_a_token_is_rotated(tmp_path: Path) -> None:
    """The value of a webhook's header is another under the same version, and the set is another one."""
    hook = 'id = "hook"\nversion = 1\nname = "Hook"\ntype = "WEB_HOOK"\nevent = "FEE_APPLIED"\ntarget = "LOANS"\n'
    hook += 'content_type = "text/plain; charset=UTF-8"\nsubscription = "OPT_OUT"\nbody = "fee"\n'
    hook += '[webhook]\nurl = "https://hooks.example.com/"\nheaders = { X-Token = "one" }\n'
    (tmp_path / "hook.toml").write_text(hook)
    eye = reloads(tmp_path)
    first = eye.templates.digest
    (tmp_path / "hook.toml").write_text(hook.replace('"one"', '"two"'))

    assert polled(eye) is not None
    assert first != eye.templates.digest
    (tmp_path / "hook.toml").write_text(hook.replace("X-Token", "X-Key"))
    assert polled(eye) is None
    assert eye.refused.startswith("hook has other content under version 1")
