"""Languages: which text a reader gets."""

import re
import time

import pytest
from babel.core import get_global
from babel.localedata import locale_identifiers
from hypothesis import example, given
from hypothesis import strategies as st

from processor.domain.language import TAG_LIMIT_CHARACTERS, babel_locale, language_key, nearest_language, parse_tag
from tests.support.builders import make_email


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
def test_the_text_for_a_reader(language: str, written: str, expected: str) -> None:
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
def test_the_language_of_the_top_level_is_looked_up_too(default: str, language: str, expected: str) -> None:
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
def test_any_text_can_be_looked_up_as_a_language(language: str, tags: tuple[str, ...]) -> None:
    """A look-up gives one of the written tags, and raises for no text; spelling makes no difference."""
    found = nearest_language(language, tags)

    assert found in tags
    if len(language) <= TAG_LIMIT_CHARACTERS and language.isascii():
        assert found == nearest_language(language.upper().replace("-", "_"), tags)


@given(LANGUAGES, TAGS)
@example("AA_x_x", ("en",))
def test_a_written_language_is_found(language: str, tags: tuple[str, ...]) -> None:
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
