"""Telephone numbers: international, and as they are written in the US, the UK and France."""

from __future__ import annotations

import re

__all__ = ["PHONE", "phone"]

_BLANK = "[ \\u00a0\\u202f]"
_DASH = "[-\\u2010-\\u2013]"
_ONE = f"(?:{_BLANK}|{_DASH}|[./])"
_BETWEEN = f"(?:{_ONE}|{_BLANK}?\\(|\\){_ONE}?|{_BLANK}{_DASH}{_BLANK})?"
_EXTENSION = "(?:,? ?(?:x|ext\\.?|extension) ?\\d{1,6}(?!\\d))"
_END = f"(?:{_EXTENSION}|(?!\\w|[-./]\\d))"
_FORMS = (
    # United States: (555) 123-4567, 1-555-123-4567, 555.123.4567
    f"(?:(?:\\+?1|001){_ONE}?)?(?:\\(\\d{{3}}\\){_ONE}?{_BLANK}?|\\d{{3}}{_ONE})\\d{{3}}{_ONE}\\d{{4}}",
    # International: +44 20 7946 0958, +49 (0)30 123456, 0044 20 7946 0958, 011 44 20 7946 0958
    f"(?:\\+{_BLANK}?|00{_BLANK}?|011{_ONE})(?=[1-9])\\d(?:{_BETWEEN}\\d){{6,17}}+",
    # United Kingdom: 020 7946 0958, (0161) 496 0000, 07700 900123
    f"(?:\\(0\\d{{2,4}}\\){_ONE}?|0\\d{{2,4}}{_ONE})\\d{{3,4}}{_ONE}?\\d{{3,4}}|07[1-9]\\d{{8}}",
    # France: 06 12 34 56 78
    f"0[1-9](?:{_ONE}\\d\\d){{4}}",
    # Digits without a form
    f"\\d{{3}}{_DASH}\\d{{4}}|\\d{{7,13}}",
)

PHONE = re.compile("(?i)(?<![\\w.+/#$-])(?<!\\d[ ,.])(?:" + "|".join(f"(?:{form}){_END}" for form in _FORMS) + ")")
"""Candidates; `phone` decides. The forms are tried in this order."""

_PHONE_WORDS = re.compile(
    r"(?i)\b(?:call(?:ing|ed)?|(?:tele|smart)?phones?|tel|mobile|cell|fax|whatsapp|text|sms|dial|ring|contact|reach"
    r"|(?:my|our|his|her|their)(?: new| work| home)? number)\b"
    r"(?:[\s:.,(=-]|\b(?:number|no|is|at|on|me|us|my|him|her|them|back|to|the|or|via|it|line|phone)\b){0,12}\Z"
)
"""A word that announces a number, and nothing but small words since."""
_ENDS_WITH_NUMBER = re.compile(r"\d[ ,.]{1,2}\Z")
_STARTS_WITH_NUMBER = re.compile(r"[ ,]{1,2}\d{2}")
_BLANKS_ONLY = re.compile("[\\d \\u00a0\\u202f]+")
# Most digits of a number with its calling code; https://www.itu.int/rec/T-REC-E.164 allows 15 in all.
_LONGEST = {
    "1": 11, "7": 11, "20": 12, "27": 11, "30": 12, "31": 11, "32": 11, "33": 11, "34": 11, "36": 11, "39": 13,
    "40": 11, "41": 11, "43": 13, "44": 12, "45": 10, "46": 11, "47": 10, "48": 11, "49": 13, "52": 12, "54": 13,
    "55": 13, "61": 11, "64": 12, "65": 10, "81": 12, "82": 12, "86": 13, "90": 12, "91": 12,
}  # fmt: skip
_LONGEST_OF_ALL = 15


def phone(text: str, start: int, end: int) -> int:
    """Accept a telephone number; digits without any form need a word such as "call" before them."""
    value = text[start:end]
    digits = "".join(filter(str.isdigit, value))
    if value[0] == "+" or digits.startswith("00") or (digits.startswith("011") and len(digits) > 11):
        return _end_of_international(text, start, end)
    if value.isdigit():
        is_mobile = len(digits) == 11 and digits.startswith("07")
        return end if is_mobile or _is_announced(text, start) else start
    if len(digits) == 7:
        return end if _is_announced(text, start) else start
    if digits[0] == "0" and not 9 <= len(digits) <= 13:
        return start
    if _BLANKS_ONLY.fullmatch(value) and not _is_announced(text, start):
        # Without a dash or bracket it may as well be a list of numbers.
        in_list = _ENDS_WITH_NUMBER.search(text[max(0, start - 3) : start]) or _STARTS_WITH_NUMBER.match(text, end)
        is_local = digits[0] == "0" or digits[-10] in "23456789"
        return start if in_list or not is_local else end
    return end


def _end_of_international(text: str, start: int, end: int) -> int:
    """Return where a number with a calling code ends: numbers behind it aren't part of it."""
    prefix = 0 if text[start] == "+" else 3 if text.startswith("011", start) else 2
    offsets = [at for at in range(start, end) if text[at].isdigit()][prefix:]
    digits = "".join(text[at] for at in offsets)
    longest = next((_LONGEST[digits[:size]] for size in (1, 2) if digits[:size] in _LONGEST), _LONGEST_OF_ALL)
    if "(0)" in text[start:end]:
        longest += 1
    if len(digits) <= longest or "x" in text[start:end].lower():
        return end
    cut = offsets[longest - 1] + 1
    # Never in the middle of a group: a number that is longer than usual is removed whole.
    return end if text[cut].isdigit() else cut


def _is_announced(text: str, start: int) -> bool:
    before = text[max(0, start - 48) : start]
    # What was found before looks like brackets; words on the other side of it announce that one.
    before = before[max(before.rfind("["), before.rfind("]")) + 1 :]
    return _PHONE_WORDS.search(before) is not None
