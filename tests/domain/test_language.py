"""Languages: which text a reader gets, and what is wrong with a tag."""

import re
import time
from pathlib import Path

import pytest
from babel.core import get_global
from babel.localedata import locale_identifiers
from hypothesis import example, given
from hypothesis import strategies as st

from processor.domain.language import TAG_LIMIT_CHARACTERS, babel_locale, language_key, nearest_language, parse_tag
from processor.domain.value_format import notation_for
from processor.templates.language_tags import check_tag
from processor.templates.load import read_templates
from tests.support.builders import SMS_HEAD, TENANT, make_email, schemas, templates_directory

HEAD = f'{SMS_HEAD}body = "x"\n'


@pytest.mark.parametrize(
    ("language", "written", "expected"),
    [
        # RFC 4647 section 3.4: subtags come off the end, one of a single letter with what followed it.
        ("pt-BR", "pt pt-br pt-pt", "pt-br"),
        ("pt-BR", "pt pt-pt", "pt"),
        ("pt-BR", "pt-pt", "en"),
        ("pt", "pt-br", "en"),
        ("PT_br", "pt-br", "pt-br"),
        ("de-CH-1996", "de de-ch", "de-ch"),
        ("ca-ES-valencia", "ca", "ca"),
        ("ca-ES-valencia", "ca ca-es-valencia", "ca-es-valencia"),
        ("zh-Hant-CN-x-private1-private2", "zh zh-hant-cn-x-private1", "zh-hant-cn-x-private1"),
        ("zh-Hant-CN-x-private1-private2", "zh zh-hant-cn", "zh-hant-cn"),
        ("de-DE-u-co-phonebk", "de", "de"),
        ("ar-AE", "ar-u-nu-latn", "ar-u-nu-latn"),
        # Codes that were others once, and ISO 639-2 and ISO 3166 alpha-3.
        ("iw", "he", "he"),
        ("he-IL", "iw", "iw"),
        ("in-ID", "id", "id"),
        ("ji", "yi", "yi"),
        ("jw", "jv", "jv"),
        ("mo", "ro", "ro"),
        ("tl-PH", "fil", "fil"),
        ("sh", "sr sr-latn", "sr-latn"),
        ("por-BRA", "pt pt-br", "pt-br"),
        ("en-UK", "en-gb", "en-gb"),
        ("de-DD", "de-de", "de-de"),
        # Norwegian.
        ("no", "nb", "nb"),
        ("nb-NO", "no", "no"),
        ("nb", "no nb", "nb"),
        ("no-NO", "nb-no", "nb-no"),
        ("nn-NO", "nb no", "no"),
        ("nn", "nb", "nb"),
        ("no-bok", "nb", "nb"),
        # Scripts: a tag without one has the one that is usual where it is spoken; another script comes last.
        ("zh-TW", "zh zh-hant", "zh-hant"),
        ("zh-Hant-TW", "zh zh-hant", "zh-hant"),
        ("zh-Hant-TW", "zh zh-tw", "zh-tw"),
        ("zh-Hant", "zh zh-tw", "zh-tw"),
        ("zh-HK", "zh-cn zh zh-tw", "zh-tw"),
        ("zh-MO", "zh-hant-hk zh-hant zh", "zh-hant-hk"),
        ("zh-HK", "zh", "zh"),
        ("zh-CN", "zh-hant zh", "zh"),
        ("zh-CN", "zh-hant", "en"),
        ("zh", "zh-hans zh-hant", "zh-hans"),
        ("zh-yue-HK", "zh zh-hant", "zh-hant"),
        ("sr-ME", "sr sr-latn", "sr-latn"),
        ("sr-Latn-RS", "sr sr-latn", "sr-latn"),
        ("sr-RS", "sr-latn sr", "sr"),
        ("uz-AF", "uz uz-arab", "uz-arab"),
        ("en-Latn-US", "en-us", "en-us"),
        # CLDR's parents.
        ("es-MX", "es es-419", "es-419"),
        ("es-ES", "es es-419", "es"),
        ("pt-AO", "pt pt-pt", "pt-pt"),
        ("pt-AO", "pt pt-br", "pt"),
        ("en-AU", "de en-001", "en-001"),
        # What systems call a language.
        ("pt_BR.UTF-8", "pt-br", "pt-br"),
        ("sr_RS@latin", "sr sr-latn", "sr-latn"),
        ("de_DE@euro", "de", "de"),
        ("pt-BR,pt;q=0.9,en;q=0.8", "pt-br", "pt-br"),
        (" pt ", "pt", "pt"),
        ("en-GB-oed", "de en-gb", "en-gb"),
        ("POSIX", "pt", "en"),
        ("C", "pt", "en"),
        ("", "pt", "en"),
        ("-", "pt", "en"),
        ("*", "pt", "en"),
        ("*-BR", "pt", "en"),
        ("Portuguese", "pt", "en"),
        ("pt\x00BR", "pt", "en"),
        ("português", "pt", "en"),
        ("x-pt", "pt", "en"),
        ("i-klingon", "pt", "en"),
        ("\N{FULLWIDTH LATIN SMALL LETTER P}t", "pt", "en"),
    ],
)
def test_a_readers_text(language: str, written: str, expected: str) -> None:
    """The top level is in English; `written` are the variants."""
    template = make_email(body="en", bodies={tag: tag for tag in written.split()})

    assert (expected,) == template.text_for(language).body


@pytest.mark.parametrize(
    ("default", "language", "expected"),
    [
        ("he", "iw", "top"),
        ("zh-TW", "zh-Hant", "top"),
        ("pt-PT", "pt-AO", "top"),
        ("nb", "no", "top"),
        ("fr", "de", "top"),
    ],
)
def test_the_top_level_takes_part(default: str, language: str, expected: str) -> None:
    """Its language is looked up as those of the variants are."""
    template = make_email(body="top", bodies={"pt": "pt", "zh": "zh", "nn": "nn"}, default_locale=default)

    assert (expected,) == template.text_for(language).body


ALPHABET = "abehilnoprstuwxzABHT0149-_.@*, \u00e9"
WRITTEN = "en pt pt-br pt-pt zh zh-tw zh-hant zh-hans-cn sr sr-latn nb no nn he iw es-419 ar-u-nu-latn"
SUBTAGS = "zh sr pt no nb nn es iw sh hant hans latn cyrl tw br 419 mx 1996 valencia u nu latn x y POSIX"
TAGS = st.lists(st.sampled_from(WRITTEN.split()), min_size=1, max_size=6, unique=True).map(tuple)
LANGUAGES = st.one_of(
    st.text(ALPHABET, max_size=40),
    st.text(max_size=200),
    st.lists(st.sampled_from(SUBTAGS.split()), min_size=1, max_size=8).map("-".join),
    st.sampled_from(sorted(locale_identifiers())),
)


@given(LANGUAGES, TAGS)
def test_any_text_is_somebodys_language_or_nobodys(language: str, tags: tuple[str, ...]) -> None:
    """A look-up gives one of the written tags, and raises for no text; spelling makes no difference."""
    found = nearest_language(language, tags)

    assert found in tags
    if len(language) <= TAG_LIMIT_CHARACTERS and language.isascii():
        assert found == nearest_language(language.upper().replace("-", "_"), tags)


@given(LANGUAGES, TAGS)
@example("AA_x_x", ("en",))
def test_what_is_written_is_found(language: str, tags: tuple[str, ...]) -> None:
    """A reader whose language is written gets it, or what means the same."""
    for tag in tags:
        assert language_key(tag) == language_key(nearest_language(tag, tags))
    if parse_tag(language) is not None and len(language) <= TAG_LIMIT_CHARACTERS:
        assert language == nearest_language(language, (*tags, language)) or language_key(language) in map(
            language_key, tags
        )


@given(st.sampled_from(sorted(locale_identifiers())), st.sampled_from(["", "-XX", "-1996", "-x-a", "-u-nu-latn"]))
def test_numbers_and_dates_are_of_the_nearest_locale(name: str, more: str) -> None:
    """Each locale that Babel has is found by its tag, with and without what it does not have behind it."""
    language = parse_tag(
        name.replace("_", "-") + ("" if re.search("[0-9]{3}|_[A-Z]{2}", name) and more == "-XX" else more)
    )
    if language is None:  # two regions, or variants before regions
        return
    locale = babel_locale(language)

    assert locale is not None
    assert locale.language in (language.language, *({"no", "nb"} if language.language in ("no", "nb", "nn") else ()))


def test_every_old_code_has_its_language() -> None:
    """CLDR's table of aliases, as a reader would use it."""
    aliases = {old: new.replace("_", "-").lower() for old, new in get_global("language_aliases").items()}
    wrong = [old for old, new in aliases.items() if nearest_language(old, ("en-x-none", new)) != new]

    assert len(aliases) > 400
    assert [] == wrong


def test_a_language_of_a_megabyte() -> None:
    """Costs nothing: it is not looked at, nor kept."""
    started = time.process_time()
    for _ in range(1000):
        assert nearest_language("pt-" * 350_000, ("en", "pt")) == "en"

    assert time.process_time() - started < 1


@pytest.mark.parametrize("tag", ["en" + "-aaaaa" * 200_000, "en-x" + "-a" * 500_000, "en-u" + "-aa" * 300_000])
def test_a_tag_of_a_megabyte(tag: str) -> None:
    """Is none, whoever wrote it, and costs nothing: to look it up takes a time quadratic in its parts."""
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
def test_what_is_wrong_with_a_tag(tag: str, what: str, hint: str, *, fatal: bool) -> None:
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
def test_sections_that_nobody_could_get(tmp_path: Path, sections: list[str], default: str, what: str | None) -> None:
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
    """Sections that nobody could choose, as nobody who gets the template's messages has a language, are a warning."""
    text = HEAD
    for name, value in changes.items():
        text = re.sub(f'{name} = ".*"', f'{name} = "{value}"', text)
    text += '[locale."pt"]\nbody = "x"\n'
    loaded = read_templates(templates_directory(tmp_path, note=text), tenant=TENANT, schemas=schemas())

    assert ([f"no [locale] section can be chosen: {what}"] if what else []) == [
        diagnostic.message for diagnostic in loaded.diagnostics if "[locale]" in diagnostic.message
    ]
