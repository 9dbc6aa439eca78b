"""Texts that break text handling: scripts, directions, combining marks, controls, markup, address formats."""

import random
from collections.abc import Mapping, Sequence
from typing import Final

UNITS: Final = (
    "",
    " ",
    "\u00a0",
    "\u3000",
    "\x00",
    "\x0b",
    "\x1b[31m",
    "\x7f",
    "\x85",
    "\t",
    "\r\n",
    "\u2028",
    "\ufeff",
    "\ufffe",
    "\uffff",
    "\U0010ffff",
    "\U000e0041",
    "¤",
    "€",
    "ﷺ",
    "ﬃ",
    "İ",
    "ß",
    "\U0001f469\u200d\U0001f467\u200d\U0001f466",
    "\U0001f1f5\U0001f1f9",
    "e\u0301\u0316\u0338",
    "\u0301",
    "שלום ",
    "\u202egnp.exe",
    "\u2066\u2067",
    "\u200f1\u200e",
    "각",
    "\u1112\u1161\u11ab",
    "नमस्ते",
    "๑๒๓",
    "٣٤٥",
    "Ｆｕｌｌ",
    "｛ＡＣＣＯＵＮＴ＿ＩＤ｝",
    "{ACCOUNT_ID}",
    "{{ACCOUNT_ID}}",
    "{CF:CLIENT:Segment}",
    "FORMAT{TOTAL_BALANCE,numericPattern=0}",
    "%7BACCOUNT_ID%7D",
    "&#123;EVENT&#125;",
    "<b>",
    "</textarea><script>alert(1)</script>",
    "<!--",
    "]]>",
    "<?xml version='1.0'?>",
    "&amp;",
    "&",
    '"',
    "'",
    "\\",
    '\\"',
    "\\u0000",
    '", "admin": "true',
    "null",
    "javascript:alert(1)",
    "//evil.example/",
    "../",
    "..",
    ".",
    "%2e%2e%2f",
    "?a=b&c=d#e",
    "+",
    "%",
    "%s%n",
    "(",
    "( ",
    "-",
    "/",
    "@",
    "@.",
    ",",
    ":",
    ";",
    "=",
    "#",
    "[",
    "{",
    "~",
    "\n",
    "0",
    "1e400",
    "-0.00",
    "Ines ",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
)
"""The units of texts, once or repeated."""

LANGUAGES: Final = (
    *("en", "pt-PT", "pt_BR", "zh-Hant-TW", "no", "iw", "sr-Latn", "ar-EG", "fa", "de-CH-1996", "i-klingon", "und"),
    *("x-private", "en-", "-", "--", "_", "en_US.UTF-8@euro", "EN", "eN-gB", "root", "mul", "zz", "a", "*", "en-*"),
    *("../../etc/passwd", "\u212aa", "İn", "d\u0435", "en\x00", "en-u-nu-arab", "art-lojban"),
)
_EMAILS: Final = (
    *("ines@example.com", "ines+loans@example.com", "INES@EXAMPLE.COM", '"a b"@example.com', "ines@[192.0.2.1]"),
    *("ines@[IPv6:2001:db8::1]", "ínes@exämple.com", "ines@xn--exmple-cua.com", "ines@example.com,copy@evil.example"),
    *("Ines <ines@example.com>", "n/a", "@", "a@", "@b", "a@b", "a@@b", "ines@example..com", ".ines@example.com"),
    *("ines@example.com\r\nBcc: copy@evil.example", " ines@example.com ", "ines@ex\u0000ample.com", "ines@localhost"),
    *(
        "ines@example.com\u202e",
        "ınes@example.com",
        "\u0301@example.com",
        "ines@-example.com",
        "mailto:ines@example.com",
    ),
    *('"a,b"@example.com', f"{'a' * 250}@example.com", "a" * 64 + "@" + "b" * 190 + ".example"),
    "a@" + "b." * 120 + "example",
)
_PHONES: Final = (
    *("+351912345678", "00351912345678", "912 345 678", "+351 (912) 345-678", "+351912345678;ext=5", "112", "+"),
    *("+1-800-FLOWERS", "tel:+351912345678", "＋３５１９１２３４５６７８", "+٣٥١٩١٢٣٤٥٦٧٨", "+999999999999999", "0"),
    *(
        "+351912345678,+351912345679",
        "n/a",
        "910000001/2",
        "0049/30/123456",
        "+35191234567\u200b8",
        "+44 20 7946 0018 x123",
    ),
)
_CURRENCIES: Final = (
    *(
        "EUR",
        "JPY",
        "KWD",
        "CLF",
        "XAU",
        "XXX",
        "ZZZ",
        "eur",
        "Eur",
        "EU",
        "EURO",
        "€",
        "$",
        "¤",
        "¤¤¤",
        "",
        " ",
        "EUR ",
    ),
    *("ΕUR", "\U0001f4b6", "EUR\x00", "E\u0301UR", "978", "<b>", "NaN"),
)
_URLS: Final = (
    *("https://portal.northbank.example/reset?code=1", "javascript:alert(1)", "//evil.example", "", "http://[::1"),
    *("data:text/html,<script>", "https://a.example/\u202e", "https://a.example/?a=b c", "https://u:p@a.example/"),
)
_DAYS: Final = ("MONDAY", "tuesday", "Dienstag", "", "8")
_ROLES: Final = ("Treasurer", "TREASURER ", "präsidentin", "İşçi", "işçi", "I\u0307şçi", "")

BY_NAME: Final[Mapping[str, Sequence[str]]] = {  # a field's name -> values for it, beside any text
    "language": LANGUAGES,
    "emailAddress": _EMAILS,
    "mobilePhone": _PHONES,
    "currencyCode": _CURRENCIES,
    "originalCurrencyCode": _CURRENCIES,
    "currencySign": _CURRENCIES,
    "passwordUrl": _URLS,
    "meetingDay": _DAYS,
    "role": _ROLES,
}

_LENGTHS: Final = (1, 1, 1, 2, 3, 16, 40, 160, 256, 1_025, 1_601)


def odd_text(name: str, rng: random.Random) -> str:
    """A text for the field `name`: a value of its own, or a repeated unit; up to some thousand characters."""
    if name in BY_NAME and rng.random() < 0.7:
        return rng.choice(BY_NAME[name])
    unit = rng.choice(UNITS)
    if rng.random() < 0.2:
        unit += rng.choice(UNITS)
    return unit * (rng.choice(_LENGTHS) // max(1, len(unit)) or 1)


def long_text(name: str, rng: random.Random, *, size_bytes: int) -> str:
    """A text of about `size_bytes` in UTF-8: one or a few units repeated, often with another at the end, where a
    regular expression that is not linear backtracks; or a value of the field's own with such a middle."""
    unit = "".join(rng.choices(UNITS[1:], k=rng.choice((1, 1, 1, 2, 5))))
    text = unit * (size_bytes // len(unit.encode())) + rng.choice(("", rng.choice(UNITS)))
    if name in BY_NAME and rng.random() < 0.3:
        value = rng.choice(BY_NAME[name])
        at = rng.randint(0, len(value))
        return value[:at] + text + value[at:]
    return text
