"""Whether a text is one e-mail address, one phone number or one user name: by its syntax, nothing is looked up.

The validators take 10 to 20 µs, and the messages of an event often go to one person: their results are kept for the
last thousand texts, each of which is short.
"""

import re
from functools import lru_cache
from typing import Final
from unicodedata import normalize
from urllib.parse import unquote, urlsplit

import email_validator
import phonenumbers
from email_validator import EmailNotValidError, validate_email
from phonenumbers import NumberParseException

from processor.domain.channel import AddressKind
from processor.mapping.escape import BETWEEN_DIGITS, holds_control

DESTINATION_LIMIT_CHARACTERS: Final = 1024
EMAIL_LIMIT_CHARACTERS: Final = 254  # RFC 5321 4.5.3.1.3, less its angle brackets; the validator counts bytes
PHONE_LIMIT_CHARACTERS: Final = 64  # fifteen digits, each with three separators, have room
_CACHED_RESULTS: Final = 1024

# Names such as bank.local are reserved on the internet and may work within a bank. The library documents its list as
# changeable for this ("Special-use domain names" in its README); no argument stands for it.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()

# What readers split lists at, find addresses by, or quote again: a quoted local part may hold it by RFC 5322, and of
# another one programs make it that read full-width signs as plain ones (NFKC) or decode encoded words (RFC 2047).
_STARTS_ANOTHER: Final = re.compile(r"[,;<>@\\]|=\?[^?]*\?[BbQq]\?[^?]*\?=")

# One + at most, then digits of any script. No letters (keypad, extension, URI), and no second number.
_DIGITS: Final = rf"[\d{BETWEEN_DIGITS}]*"
_NUMBER: Final = re.compile(rf"[ (\uff08]*(?:[+\uff0b][{BETWEEN_DIGITS}]*)?\d{_DIGITS}(?:/{_DIGITS})?")

# An area code, its country's included, has up to six digits; a mobile number without it five at least. Else what
# stands beside a slash is a second number, or another ending of the first.
_AREA_CODE_DIGITS: Final = 6
_BEHIND_AREA_CODE_DIGITS: Final = 5

# A number that names no country: what is shorter than the shortest mobile number of any country (Niue's, Tokelau's),
# or longer than E.164 allows, is a number of none. Zeros before it are dialled and no part of it.
_SHORTEST_DIGITS: Final = 4
_LONGEST_DIGITS: Final = 15

_DIRECTION_CONTROL: Final = re.compile("[\u202a-\u202e\u2066-\u2069]")  # embeddings, overrides and isolates of UAX #9


@lru_cache(_CACHED_RESULTS)
def _email_error(address: str) -> str | None:
    try:
        validate_email(
            address,
            allow_quoted_local=True,
            allow_domain_literal=True,
            globally_deliverable=False,
            check_deliverability=False,
        )
    except EmailNotValidError as error:
        # What stands in brackets may quote a part of the address, and statuses hold no personal data.
        return "not one e-mail address: " + str(error).partition(" (")[0].rstrip(".")
    local, _, _ = address.rpartition("@")
    if _STARTS_ANOTHER.search(normalize("NFKC", local)):
        return "not one e-mail address: the part before the @-sign holds what could begin another one"
    return None


def email_error(address: str) -> str | None:
    """Why `address` is not one e-mail address, an addr-spec of RFC 5322 or RFC 6532 (other scripts); None when it is.

    Quoted local parts and domain literals are such; display names, comments and lists are not. Whether the domain
    exists, or could be reached from outside, does not matter.
    """
    if len(address) > EMAIL_LIMIT_CHARACTERS:
        return f"an e-mail address of {len(address)} characters; at most {EMAIL_LIMIT_CHARACTERS}"
    return _email_error(address)


@lru_cache(_CACHED_RESULTS)
def _phone_error(number: str, region: str | None) -> str | None:
    if not _NUMBER.fullmatch(number):
        return "not one phone number: it holds more than digits, what stands between them, and a + before them"
    before, slash, behind = number.partition("/")
    if slash and not (_count_digits(before) <= _AREA_CODE_DIGITS and _count_digits(behind) >= _BEHIND_AREA_CODE_DIGITS):
        return "not one phone number: a slash stands behind an area code only"
    international = "+" in number or "\uff0b" in number
    if region is None and not international:
        if _SHORTEST_DIGITS <= _count_digits(number) <= _LONGEST_DIGITS:
            return None
        return f"not a phone number of any country: {_count_digits(number)} digits"
    bare = ("+" if international else "") + phonenumbers.normalize_digits_only(number)
    try:
        possible = phonenumbers.is_possible_number(phonenumbers.parse(bare, region))
    except NumberParseException:
        possible = False
    return None if possible else "not a possible phone number: of no country, or of the wrong length for its country"


def phone_error(number: str, region: str | None) -> str | None:
    """Why `number` is not one phone number that can be sent an SMS; None when it is.

    `region` (PT) is the country of a number that does not begin with +; without it such a number is refused only if no
    country has numbers of its length. Possible is a matter of length (libphonenumber): whether anybody has the number
    is not checked.
    """
    if len(number) > PHONE_LIMIT_CHARACTERS:
        return f"a phone number of {len(number)} characters; at most {PHONE_LIMIT_CHARACTERS}"
    return _phone_error(number, region)


def user_error(name: str) -> str | None:
    """Why `name` is not the name of one user of the bank; None when it is. Any line can be one that is as it looks."""
    return "the user name has a character that turns its text around" if _DIRECTION_CONTROL.search(name) else None


def _count_digits(text: str) -> int:
    """How many digits it has, without the zeros it begins with."""
    return len(phonenumbers.normalize_digits_only(text).lstrip("0"))


def address_error(kind: AddressKind, address: str, *, sms_region: str | None) -> str | None:
    """Why nothing can be sent to `address`; None when it is one address of its kind.

    `sms_region` is the country of phone numbers that name none.
    """
    if not address:
        return "the address is blank"
    if len(address) > DESTINATION_LIMIT_CHARACTERS:
        return f"an address of {len(address)} characters; at most {DESTINATION_LIMIT_CHARACTERS}"
    if holds_control(address):
        return "the address holds a control character or a line break"
    match kind:
        case AddressKind.EMAIL:
            return email_error(address)
        case AddressKind.PHONE:
            return phone_error(address, sms_region)
        case AddressKind.USER:
            return user_error(address)
        case AddressKind.URL if _has_dot_segments(address):
            return "a step of the address's path is `.` or `..`"
        case _:
            return None


def _has_dot_segments(url: str) -> bool:
    """Whether a step of the path is `.` or `..`. A client removes such a step before the request, encoded or not, and
    many servers do so once they have decoded slashes too, so a value would lead to another path of the same host."""
    steps = unquote(urlsplit(url).path).replace("\\", "/").split("/")
    return not {".", ".."}.isdisjoint(steps)
