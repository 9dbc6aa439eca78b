"""T19: samples of templates are tests of them."""

import json
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from processor.templates.load import SHIPPED, read_templates
from tests.support.builders import TENANT, schemas
from tests.support.template_files import SMS, STREAM, condition, diagnostics, load_files, toml


def test_a_sample_whose_conditions_do_not_hold(tmp_path: Path) -> None:
    """T19: a sample whose event a condition leaves out says which, and the value it met."""
    (tmp_path / "event.json").write_text((SHIPPED / "samples" / "loan-repayment.json").read_text())
    sample = '[[sample]]\nname = "a"\nevent = "event.json"\nexpected.state = "QUEUED"\n'
    conditions = condition('field = "TRANSACTION_AMOUNT"\noperator = "MORE_THAN"\nvalue = 500')
    (diagnostic,) = load_files(tmp_path, note=toml(conditions + sample)).diagnostics

    decision = "CONDITION_FALSE: condition 1: TRANSACTION_AMOUNT MORE_THAN 500; the value is 218.24"
    assert f"sample 'a' makes no message: {decision}" == diagnostic.message


def test_samples_do_not_depend_on_the_time_zone() -> None:
    """The shipped samples pass in any time zone, so that an installation's own does not stop it.

    These two are the ends: at no moment do both have the same day, so no sample shows the day of a moment.
    """
    for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):
        loaded = read_templates(None, tenant=TENANT, schemas=schemas(), time_zone=ZoneInfo(zone))

        assert all(run.passed for run in loaded.samples)


@pytest.mark.parametrize(
    ("sample", "what"),
    [
        ('expected.body = "<p>Home"', "sample 'a': body is not as expected"),
        ('expected.subject = "About"', "sample 'a': subject is not as expected"),
        ('expected.destination = "a@b"', "sample 'a': destination is not as expected"),
        ('expected.state = "FAILED"', "sample 'a': state is not as expected"),
        ('expected.state = "HAPPY"', "unknown state 'HAPPY'"),
        ("expected = {}", "sample 'a' expects nothing"),
    ],
)
def test_samples_are_tests(tmp_path: Path, sample: str, what: str) -> None:
    """T19: a sample that renders otherwise is a diagnostic that shows both texts; the template is not loaded."""
    (tmp_path / "event.json").write_text((SHIPPED / "samples" / "loan-repayment.json").read_text())
    loaded = load_files(tmp_path, note=toml(f'[[sample]]\nname = "a"\nevent = "event.json"\n{sample}'))

    assert what in [diagnostic.message.splitlines()[0] for diagnostic in loaded.diagnostics], loaded.diagnostics
    assert ["T19"] == sorted({diagnostic.code for diagnostic in loaded.diagnostics})
    assert (None, [False]) == (loaded.templates, [run.passed for run in loaded.samples])


@pytest.mark.parametrize(
    ("event", "what"),
    [
        ("client-created.json", "is a CLIENT_CREATED, which this template is not for"),
        ("savings-deposit.json", "is a SAVINGS_DEPOSIT, which this template is not for"),
        ("broken.json", "is no event: INVALID_EVENT"),
    ],
)
def test_samples_need_an_event_of_the_template(tmp_path: Path, event: str, what: str) -> None:
    """T19: a sample's file must hold an event that the template is for."""
    source = SHIPPED / "samples" / event
    (tmp_path / event).write_text(source.read_text() if source.exists() else '{"event": "LOAN_REPAYMENT"}')
    sample = f'[[sample]]\nname = "a"\nevent = "{event}"\nexpected.state = "QUEUED"'
    (diagnostic,) = load_files(tmp_path, note=toml(sample)).diagnostics

    assert what in diagnostic.message
    assert ("T19", 13) == (diagnostic.code, diagnostic.location.line)


OPTED_IN = '[[sample]]\nname = "a"\nevent = "event.json"\n'


@pytest.mark.parametrize("fields", [{}, SMS, STREAM], ids=["EMAIL", "SMS", "EVENT_STREAM"])
@pytest.mark.parametrize("option", ["OPT_IN", "OPT_OUT"])
@pytest.mark.parametrize("subscribed", ["", "subscribed = true\n"], ids=["by default", "as it says"])
def test_the_holder_of_a_sample_is_subscribed(
    tmp_path: Path, fields: dict[str, Any], option: str, subscribed: str
) -> None:
    """T19: whatever the template's option and channel, a sample shows the message of a holder who wants it."""
    (tmp_path / "event.json").write_text((SHIPPED / "samples" / "loan-repayment.json").read_text())
    state = "SENT" if fields is STREAM else "QUEUED"
    sample = f'{OPTED_IN}{subscribed}expected.state = "{state}"'
    loaded = load_files(tmp_path, note=toml(sample, subscription=option, **fields))

    assert ((), [True]) == (loaded.diagnostics, [run.passed for run in loaded.samples])


@pytest.mark.parametrize("option", ["OPT_IN", "OPT_OUT"])
def test_a_sample_of_a_holder_who_is_not_subscribed(tmp_path: Path, option: str) -> None:
    """T19: with `subscribed = false` a sample without `expected` passes when there is no message; with it, it fails."""
    (tmp_path / "event.json").write_text((SHIPPED / "samples" / "loan-repayment.json").read_text())
    nobody = f"{OPTED_IN}subscribed = false\n"
    loaded = load_files(tmp_path, note=toml(nobody, subscription=option))
    assert ((), [True]) == (loaded.diagnostics, [run.passed for run in loaded.samples])

    (diagnostic,) = load_files(
        tmp_path, note=toml(f'{nobody}expected.state = "QUEUED"', subscription=option)
    ).diagnostics
    assert "sample 'a' makes no message: NOT_SUBSCRIBED: the holder opted out" == diagnostic.message
    assert ("T19", "leave `expected` out where no message is right") == (diagnostic.code, diagnostic.hint)


def test_a_sample_that_should_make_no_message_and_does(tmp_path: Path) -> None:
    """T19: an event without a holder needs no subscription, so nothing keeps its message back."""
    (tmp_path / "event.json").write_text((SHIPPED / "events" / "END_OF_DAY_PROCESSING_COMPLETED.json").read_text())
    about = {"event": "END_OF_DAY_PROCESSING_COMPLETED", "target": "BACKGROUND_PROCESS", "body": '"{EVENT_ID}"'}
    text = toml(f"{OPTED_IN}subscribed = false", **(STREAM | about))
    (diagnostic,) = load_files(tmp_path, note=text).diagnostics

    assert "sample 'a' makes a message, though its holder is not subscribed" == diagnostic.message
    assert ("T19", "an event without a holder needs no subscription") == (diagnostic.code, diagnostic.hint)


@pytest.mark.parametrize(
    ("event", "fields", "got"),
    [
        (
            "loan-repayment-no-address",
            'expected.state = "QUEUED"',
            "got      'FAILED', MISSING_EMAIL_RECIPIENT_ADDRESS: the recipient has no e-mail address",
        ),
        (
            "loan-repayment-no-address",
            'expected.destination = "bo@example.com"',
            "got      nothing, MISSING_EMAIL_RECIPIENT_ADDRESS: the recipient has no e-mail address",
        ),
        ("loan-repayment", 'expected.state = "FAILED"', "got      'QUEUED'"),
        ("loan-repayment-no-address", 'expected.subject = "?"', "got      'About LN-300001'"),
    ],
)
def test_a_sample_says_why_a_message_failed(tmp_path: Path, event: str, fields: str, got: str) -> None:
    """T19: beside a state or destination that is not as expected stands the reason, as `preview` has it."""
    (tmp_path / "event.json").write_text((SHIPPED / "samples" / f"{event}.json").read_text())
    (diagnostic,) = load_files(tmp_path, note=toml(f"{OPTED_IN}{fields}")).diagnostics

    assert got == diagnostic.message.splitlines()[-1].strip()


def test_unknown_fields_of_a_sample(tmp_path: Path) -> None:
    """T19: nothing reads them, so each is a warning, once for an event that samples share; the samples pass."""
    event = json.loads((SHIPPED / "samples" / "loan-repayment.json").read_text())
    event["transaction"]["amonut"] = event["transaction"]["amount"]
    (tmp_path / "event.json").write_text(json.dumps(event))
    two = "".join(f'[[sample]]\nname = "{name}"\nevent = "event.json"\nexpected.state = "QUEUED"\n' for name in "ab")
    loaded = load_files(tmp_path, note=toml(two))
    (diagnostic,) = loaded.diagnostics

    assert ("T19", 13, True) == (diagnostic.code, diagnostic.location.line, diagnostic.is_warning)
    assert "event.json has an unknown field transaction.amonut" == diagnostic.message
    assert "did you mean amount?" == diagnostic.hint
    assert loaded.templates
    assert [True, True] == [run.passed for run in loaded.samples]


def test_a_sample_says_why_its_template_failed(tmp_path: Path) -> None:
    """T19: reason and detail of a template that fails for the sample's event."""
    (tmp_path / "event.json").write_text((SHIPPED / "samples" / "loan-repayment.json").read_text())
    text = toml(f'{OPTED_IN}expected.state = "QUEUED"', strict=True, body="<p>{GROUP_NAME}</p>")
    (diagnostic,) = load_files(tmp_path, note=text).diagnostics

    assert "sample 'a' makes no message: MISSING_VALUE: no value: {GROUP_NAME}" == diagnostic.message


@pytest.mark.parametrize(
    ("event", "hint"),
    [
        ("repayment.json", "did you mean events/repayment.json?"),
        ("event/repayment.json", "did you mean events/repayment.json?"),
        ("events/repaymnet.json", "did you mean events/repayment.json?"),
        ("LOAN_REPAYMENT", "a JSON event, in a file that is named relative to the templates' folder"),
        ("nothing/of/this", "a JSON event, in a file that is named relative to the templates' folder"),
    ],
)
def test_the_event_of_a_sample_is_found_elsewhere(tmp_path: Path, event: str, hint: str) -> None:
    """A file of that name in another folder below, or of a name like it, is what was meant."""
    (tmp_path / "events").mkdir()
    (tmp_path / "events" / "repayment.json").write_text("{}")
    (diagnostic,) = diagnostics(tmp_path, toml(f'[[sample]]\nname = "a"\nevent = "{event}"\nexpected.state = "SENT"'))

    assert (f"{event} cannot be read: No such file or directory", hint) == (diagnostic.message, diagnostic.hint)


def test_samples_of_an_inactive_template(tmp_path: Path) -> None:
    """T19: the samples of an inactive template show what it would do, so that it can be tried before it goes live."""
    (tmp_path / "event.json").write_text((SHIPPED / "samples" / "loan-repayment.json").read_text())
    sample = '[[sample]]\nname = "a"\nevent = "event.json"\nexpected.body = "<p>Home improvement</p>"'

    assert () == load_files(tmp_path, note=toml(sample, active=False)).diagnostics


def test_a_sample_that_makes_no_message(tmp_path: Path) -> None:
    """T19: a sample whose event makes no message says why."""
    (tmp_path / "event.json").write_text((SHIPPED / "samples" / "loan-repayment.json").read_text())
    text = toml(
        '[[sample]]\nname = "a"\nevent = "event.json"\nexpected.state = "QUEUED"', target="GROUP", recipient="GROUP"
    )
    (diagnostic,) = load_files(tmp_path, note=text).diagnostics

    assert (
        "sample 'a' makes no message: TARGET_MISMATCH: target GROUP, but the holder is a client" == diagnostic.message
    )
