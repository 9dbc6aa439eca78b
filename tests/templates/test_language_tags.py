"""Language tags as authors write them: what is wrong with one, and with the sections that it names."""

import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.value_format import notation_for
from processor.templates.language_tags import check_tag
from processor.templates.load import read_templates
from tests.support.builders import SMS_HEAD, TENANT, schemas, templates_directory

HEAD = f'{SMS_HEAD}body = "x"\n'
ALPHABET = "abehilnoprstuwxzABHT0149-_.@*, \u00e9"


@pytest.mark.parametrize("tag", ["en" + "-aaaaa" * 200_000, "en-x" + "-a" * 500_000, "en-u" + "-aa" * 300_000])
def test_a_tag_of_a_megabyte(tag: str) -> None:
    """It is invalid, and refused at once: looking it up would take a time quadratic in its parts."""
    started = time.process_time()
    wrong = check_tag(tag)
    assert wrong is not None
    assert wrong.is_error
    with pytest.raises(ValueError, match="nobody knows"):
        notation_for(tag[:10_000])

    assert time.process_time() - started < 1


RIGHT = "pt pt_BR PT-br zh-Hant-TW es-419 sr-Latn iw sh no qaa en-XA de-1996 ca-ES-valencia ar-EG-u-nu-latn de-x-plain"


@pytest.mark.parametrize(
    ("tag", "what", "hint", "fatal"),
    [
        ("e", "is not a language tag", 'as in "pt-BR"', True),
        ("", "is not a language tag", 'as in "pt-BR"', True),
        ("pt BR", "is not a language tag", 'did you mean "pt-BR"?', True),
        ("pt.BR", "is not a language tag", 'did you mean "pt-BR"?', True),
        ("pt\u2013BR", "is not a language tag", 'did you mean "pt-BR"?', True),
        ("pt_BR.UTF-8", "is not a language tag", 'did you mean "pt-BR"?', True),
        ("portuguese", "is not a language tag", 'did you mean "pt"?', True),
        ("Portuguese (Brazil)", "is not a language tag", 'did you mean "pt-BR"?', True),
        ("english", "is of no language: nothing is known of 'english'", 'did you mean "en"?', False),
        ("ptBR", "is of no language: nothing is known of 'ptbr'", 'did you mean "pt-BR"?', False),
        ("jp", "is of no language: nothing is known of 'jp'", 'did you mean "ja"?', False),
        ("cz", "is of no language: nothing is known of 'cz'", 'did you mean "cs"?', False),
        ("ua-UA", "is of no language: nothing is known of 'ua'", 'did you mean "uk-UA"?', False),
        ("xx", "is of no language: nothing is known of 'xx'", "", False),
        ("und", "is of no language: nothing is known of 'und'", "", False),
        ("mul-PT", "is of no language: nothing is known of 'mul'", "", False),
        ("root", "is of no language: nothing is known of 'root'", "", False),
        ("pt-QA-x-a", "", "", False),
        ("pt-YY", "has a region that nothing is known of: 'YY'", "", False),
        ("pt-Brazil", "has a country's name, not its code", 'did you mean "pt-BR"?', False),
        *((tag, "", "", False) for tag in RIGHT.split()),
        ("zh-Hent", "has a script that nothing is known of: 'Hent'", "", False),
        *(
            (tag, "", "", False)
            for tag in ["pt", "pt_BR", "PT-br", "zh-Hant-TW", "es-419", "sr-Latn", "iw", "sh", "no", "qaa", "en-XA"]
        ),
        *(
            (tag, "", "", False)
            for tag in ["de-1996", "ca-ES-valencia", "ar-EG-u-nu-latn", "de-x-plain", "sl-rozaj-biske"]
        ),
    ],
)
def test_invalid_tags(tag: str, what: str, hint: str, *, fatal: bool) -> None:
    """A hint has the tag that was probably meant, where one comes to mind."""
    wrong = check_tag(tag)

    assert (what, hint, fatal) == ((wrong.message, wrong.hint, wrong.is_error) if wrong else ("", "", False))


@given(st.text(ALPHABET, max_size=30))
def test_a_hint_is_a_tag(tag: str) -> None:
    """What is proposed has nothing wrong with it, whatever it is proposed for."""
    wrong = check_tag(tag)
    if wrong and (found := re.search('"(.*)"', wrong.hint)):
        assert check_tag(found[1]) is None


@pytest.mark.parametrize(
    ("sections", "default", "what"),
    [
        (["he", "iw"], "en", '[locale."iw"] is there twice, also as "he"'),
        (["pt_BR", "pt-br"], "en", '[locale."pt-br"] is there twice, also as "pt_BR"'),
        (["zh", "zh-Hans"], "en", '[locale."zh-Hans"] is there twice, also as "zh"'),
        (["zh-TW", "zh-Hant-TW"], "en", '[locale."zh-Hant-TW"] is there twice, also as "zh-TW"'),
        (["ar", "ar-u-nu-latn"], "en", '[locale."ar-u-nu-latn"] is there twice, also as "ar"'),
        (["en-Latn"], "en", '[locale."en-Latn"] is the top level\'s own language'),
        (["he"], "iw", '[locale."he"] is the top level\'s own language'),
        (["nb", "no", "nn", "zh-TW", "zh-Hant", "zh", "pt-BR", "pt", "es-419", "de-x-plain", "de"], "en", None),
    ],
)
def test_unreachable_sections(tmp_path: Path, sections: list[str], default: str, what: str | None) -> None:
    """Two sections, or one and the top level, that mean the same language are a diagnostic."""
    text = HEAD + f'default_locale = "{default}"\n' + "".join(f'[locale."{tag}"]\nbody = "x"\n' for tag in sections)
    loaded = read_templates(templates_directory(tmp_path, note=text), tenant=TENANT, schemas=schemas())

    assert ([what] if what else []) == [diagnostic.message for diagnostic in loaded.diagnostics if diagnostic.is_error]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({}, None),
        ({"recipient": "CREDIT_OFFICER"}, "a user of the bank has no language"),
        ({"type": "TASK", "recipient": "CREDIT_OFFICER"}, "a user of the bank has no language"),
        ({"event": "DATA_ACCESS_STATE_CHANGED"}, "its events are no client's and no group's"),
        ({"event": "MANUAL"}, None),
    ],
)
def test_sections_of_readers_without_a_language(tmp_path: Path, changes: dict[str, str], what: str | None) -> None:
    """Sections that no recipient gets, as none of the template's recipients has a language, are a warning."""
    text = HEAD
    for name, value in changes.items():
        text = re.sub(f'{name} = ".*"', f'{name} = "{value}"', text)
    text += '[locale."pt"]\nbody = "x"\n'
    loaded = read_templates(templates_directory(tmp_path, note=text), tenant=TENANT, schemas=schemas())

    assert ([f"no [locale] section can be chosen: {what}"] if what else []) == [
        diagnostic.message for diagnostic in loaded.diagnostics if "[locale]" in diagnostic.message
    ]
