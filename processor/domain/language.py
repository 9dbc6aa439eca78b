"""Language tags of BCP 47: what a tag means, and which of the languages that there are a reader gets. Pure.

Look-up is that of RFC 4647 section 3.4: subtags are taken off the end until a language is there. Old codes, the script
that a language is usually written in, and parents such as es-419 of es-MX are CLDR's, as Babel has them:
https://unicode.org/reports/tr35/tr35.html#Locale_Inheritance .
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from babel import Locale
from babel.core import get_global
from babel.localedata import exists

TAG_LIMIT_CHARACTERS: Final = 100  # of what anybody may call a language; a tag of BCP 47 has hardly ever over 35

_TAG: Final = re.compile(  # RFC 5646 section 2.1, in lower case
    r"(?P<language>[a-z]{2,3}|[a-z]{4,8})(?P<extended>(?:-[a-z]{3}){0,3})"
    r"(?:-(?P<script>[a-z]{4}))?"
    r"(?:-(?P<region>[a-z]{2}|[0-9]{3}))?"
    r"(?P<variants>(?:-(?:[a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*)"
    r"(?P<extensions>(?:-[0-9a-wy-z](?:-[a-z0-9]{2,8})+)*)"
    r"(?P<private>(?:-x(?:-[a-z0-9]{1,8})+)?)(?![a-z0-9])"
)
_POSIX: Final = re.compile(r"([A-Za-z0-9_-]+)(?:[.@,;].*)?", re.DOTALL)  # pt_BR.UTF-8, sr_RS@latin, pt-BR,pt;q=0.8
_POSIX_SCRIPTS: Final = {"@latin": "Latn", "@cyrillic": "Cyrl", "@devanagari": "Deva"}
_KEYWORDS: Final = re.compile(r"-u((?:-[a-z0-9]{2,8})+)")
_NORWEGIAN: Final = {"nb": ("nb", "no"), "nn": ("nn", "no", "nb"), "no": ("no", "nb")}

LanguageKey = tuple[str, ...]  #: Language, script, region (empty: any), then variants and private subtags.


@dataclass(frozen=True, slots=True)
class Language:
    """A tag with its parts named as CLDR names them today. `script` is never left out where it is known.

    `rest` has variants and private subtags; of extensions only -u- is kept, as `keywords`: `nu-latn`.
    """

    language: str
    script: str
    region: str
    rest: tuple[str, ...]
    keywords: str

    def fallbacks(self) -> Iterator[LanguageKey]:
        """The languages that serve this one's readers, the best first.

        A region goes before a language, another script comes last: who reads zh-TW gets zh-Hant, and zh-CN only when
        there is no text in traditional characters.
        """
        for language in _NORWEGIAN.get(self.language, (self.language,)):
            for length in range(len(self.rest), -1, -1):
                if length in (0, len(self.rest)) or len(self.rest[length - 1]) > 1:  # `x` goes with what it begins
                    yield (language, self.script, self.region, *self.rest[:length])
            region = self.region
            while region and (region := _parent_region(language, self.script, region)):
                yield (language, self.script, region)
            yield (language, self.script, "")
        usual = _usual_script(self.language, "")
        if usual != self.script:
            likely = get_global("likely_subtags").get(f"{self.language}_{self.script}", "").split("_")
            yield (self.language, self.script, likely[-1])
            yield (self.language, usual, "")


def nearest_language(language: str, tags: tuple[str, ...]) -> str:
    """The one of `tags` that serves a reader of `language` best; the first of them when none does. Never raises.

    `language` may be any text, as an event's is: what is no tag is nobody's language.
    """
    return _nearest(language, tags) if len(language) <= TAG_LIMIT_CHARACTERS else tags[0]


@lru_cache(maxsize=4096)
def _nearest(language: str, tags: tuple[str, ...]) -> str:
    reader = _reader(language)
    if reader is None:
        return tags[0]
    by_language = _by_language(tags)
    return next((by_language[key] for key in reader.fallbacks() if key in by_language), tags[0])


@lru_cache(maxsize=256)
def _by_language(tags: tuple[str, ...]) -> Mapping[LanguageKey, str]:
    return {language_key(tag): tag for tag in reversed(tags)}


def language_key(tag: str) -> LanguageKey:
    """Equal for tags that mean the same language: `iw` and `he`, `pt_BR` and `pt-br`, `zh` and `zh-Hans`."""
    meant = parse_tag(tag)
    return (tag,) if meant is None else (meant.language, meant.script, meant.region, *meant.rest)


def normalize_tag(language: str) -> str:
    """A language tag in the one spelling that a template keeps: `pt_BR` is `pt-br`."""
    return language.strip().replace("_", "-").lower()


def parse_tag(tag: str) -> Language | None:
    """What a tag means; `_` is taken as `-`. None for what is no tag of BCP 47, or too long to be anybody's."""
    found = _TAG.fullmatch(tag.replace("_", "-").lower()) if len(tag) <= TAG_LIMIT_CHARACTERS else None
    return None if found is None else _language(found)


def _reader(text: str) -> Language | None:
    """The language of a text as systems write it: a tag, also with what is none behind it, or a POSIX locale's name."""
    whole = _POSIX.fullmatch(text.strip())
    found = None if whole is None else _TAG.match(whole[1].replace("_", "-").lower())
    if whole is None or found is None:
        return None
    script = next((script for sign, script in _POSIX_SCRIPTS.items() if sign in whole.group()), "")
    return _language(found, script)


def _language(found: re.Match[str], script: str = "") -> Language:
    alias, *more = get_global("language_aliases").get(found["language"], found["language"]).split("_")
    region = (found["region"] or "").upper()
    for extended in found["extended"].upper().split("-"):  # also USA, which is no tag but meant
        region = region or (extended if extended in get_global("territory_aliases") else "")
    region = next(iter(get_global("territory_aliases").get(region, [region])))
    script = (found["script"] or script).title()
    for part in more:  # sh is sr_Latn
        script, region = (script or part, region) if len(part) == 4 else (script, region or part)
    variants = found["variants"].split("-")[1:]
    private = found["private"].split("-")[1:]
    keywords = _KEYWORDS.search(found["extensions"])
    return Language(
        alias,
        script or _usual_script(alias, region),
        region,
        (*variants, *private),
        keywords[1].removeprefix("-") if keywords else "",
    )


def _usual_script(language: str, region: str) -> str:
    likely = get_global("likely_subtags")
    found = likely.get(f"{language}_{region}") or likely.get(language) or ""
    return next((part for part in found.split("_")[1:] if len(part) == 4), "")


def _parent_region(language: str, script: str, region: str) -> str:
    """The region whose readers' language is that of `region` too: 419 for MX of es. Empty: none."""
    parents = get_global("parent_exceptions")
    parent = parents.get(f"{language}_{region}") or parents.get(f"{language}_{script}_{region}") or ""
    return parent.split("_")[-1] if parent.startswith(f"{language}_") else ""


# ---------------------------------------------------------------------------------------------------- what Babel has


def babel_locale(language: Language) -> Locale | None:
    """The nearest locale that Babel has data of; None when it has not even the language."""
    for code, script, region, *rest in language.fallbacks():
        variant = "_".join(rest).upper()
        bare = script == _usual_script(code, region)
        for script_part in (script, "") if bare else (script,):
            name = "_".join(part for part in (code, script_part, region, variant) if part)
            if exists(name):
                return Locale.parse(name, resolve_likely_subtags=False)
    return None
