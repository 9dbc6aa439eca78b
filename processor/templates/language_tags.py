"""Language tags as authors write them: what is wrong with one, and which one was probably meant. Pure."""

import re
from typing import Final

from babel import Locale
from babel.core import get_global

from processor.domain.diagnostic import Diagnostic, Severity
from processor.domain.language import Language, parse_tag
from processor.domain.text import closest_match, did_you_mean

_PRIVATE_LANGUAGE: Final = re.compile("q[a-t][a-z]")  # codes that anybody may give a meaning
_PRIVATE_PARTS: Final = re.compile("Qa[ab][a-x]|AA|Q[M-Z]|X[A-Z]|ZZ")
_NO_LANGUAGE: Final = frozenset(("und", "mul", "zxx", "mis", "root"))


def check_tag(tag: str) -> Diagnostic | None:
    """What is wrong with a language tag, in words that follow it; None: nothing. An error for what is no tag at all."""
    meant = parse_tag(tag)
    if meant is None:
        return Diagnostic(message="is not a language tag", hint=_suggest_tag(tag) or 'as in "pt-BR"')
    if unknown := _unknown_part(meant):
        return Diagnostic(message=unknown, hint=_suggest_tag(tag), severity=Severity.WARNING)
    if meant.rest and (hint := _suggest_tag(tag)):
        return Diagnostic(message="has a country's name, not its code", hint=hint, severity=Severity.WARNING)
    return None


def _unknown_part(language: Language) -> str:
    """The part of a language that CLDR has no name of, in words; empty when it has all."""
    english = Locale("en")
    codes = (english.languages, get_global("likely_subtags"), get_global("language_aliases"))
    unknown = all(language.language not in known for known in codes) and not _PRIVATE_LANGUAGE.fullmatch(
        language.language
    )
    if unknown or language.language in _NO_LANGUAGE:
        return f"is of no language: nothing is known of {language.language!r}"
    parts = (("script", language.script, english.scripts), ("region", language.region, english.territories))
    for kind, part, names in parts:
        if part and part not in names and not _PRIVATE_PARTS.fullmatch(part):
            return f"has a {kind} that nothing is known of: {part!r}"
    return ""


def _suggest_tag(tag: str) -> str:
    """A hint with the tag that was probably meant; empty when nothing comes to mind."""
    english = Locale("en")
    languages = {name.lower(): code for code, name in sorted(english.languages.items(), reverse=True)}
    territories = {name.lower(): code for code, name in english.territories.items()}
    words = [word for word in re.split(r"[^0-9a-z]+", re.sub(r"[.@].{3,}", "", tag.lower())) if word]
    if len(words) == 1 and len(words[0]) == 4 and words[0] not in languages:  # ptBR
        words = [words[0][:2], words[0][2:]]
    first, *rest = words or [""]
    near = closest_match(first, filter(str.isalpha, languages), cutoff=0.85) if len(first) > 3 else ""
    of_country = get_global("likely_subtags").get(f"und_{first.upper()}", "").partition("_")[0]
    code = languages[near] if near else first if first in english.languages else of_country
    parts = [code, *(territories.get(word, word.upper() if len(word) == 2 else word) for word in rest)]
    probable = "-".join(parts).replace("_", "-")
    meant = parse_tag(probable) if code in english.languages else None
    fits = meant is not None and not meant.rest and not _unknown_part(meant)
    return did_you_mean(f'"{probable}"') if fits and probable.lower() != tag.lower() else ""
