"""Checksums and ranges that tell a number with a meaning from any other number."""

from __future__ import annotations

import ipaddress
import re
from itertools import accumulate

__all__ = ["card", "email", "iban", "ipv4", "ipv6", "luhn", "mac", "mod_97", "ssn"]

_CARD_WORDS = re.compile(
    r"(?i)\b(?:cards?|visa|master ?card|amex|american express|credit|debit|cc|pan|paid|pay)\b[^\[\]]*\Z"
)
_CARD_LENGTHS = (
    # First digits from, to, and the lengths in use: https://en.wikipedia.org/wiki/Payment_card_number
    ("2200", "2204", (16, 17, 18, 19)),
    ("2221", "2720", (16,)),
    ("300", "305", (14, 15, 16, 17, 18, 19)),
    ("34", "34", (15,)),
    ("3528", "3589", (16, 17, 18, 19)),
    ("36", "36", (14, 15, 16, 17, 18, 19)),
    ("37", "37", (15,)),
    ("38", "39", (14, 15, 16, 17, 18, 19)),
    ("4", "4", (13, 16, 19)),
    ("50", "50", (13, 14, 15, 16, 17, 18, 19)),
    ("51", "55", (16,)),
    ("56", "69", (13, 14, 15, 16, 17, 18, 19)),
)
_OTHER_ENDS = (
    "png jpg jpeg gif svg webp bmp ico css html htm js jsx ts tsx json xml yaml yml toml txt csv pdf mp3 mp4 wav zip "
    "shape size dtype ndim item mean sum transpose detach"
)
_NOT_TOP_LEVEL = frozenset(_OTHER_ENDS.split())
"""Ends of file names such as `logo@2x.png` and of code such as `a@b.shape`."""
_VERSION_BEFORE = re.compile(r"(?i)(?:\bv|\bversions?|\bver\.?|\brelease|\bsections?|\bchapter|\bclause|§)[ :]{0,2}\Z")
_NO_ONES_IPV4 = re.compile(r"0\.|127\.0\.0\.1\Z|127\.0\.1\.1\Z|255\.(?:0|128|192|224|240|248|252|254|255)\.")
"""Unspecified and loopback addresses and netmasks: they belong to nobody."""
# https://www.swift.com/swift-resource/9606/download (IBAN registry), read from Wikipedia's table in November 2026
_IBANS = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 "
    "ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 "
    "LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 "
    "PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 "
    "YE30"
)
_IBAN_LENGTHS = {entry[:2]: int(entry[2:]) for entry in _IBANS.split()}


def luhn(digits: str) -> bool:
    """Return whether the last digit is the checksum of ISO/IEC 7812-1."""
    doubled = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
    values = [int(digit) for digit in reversed(digits)]
    return (sum(values[::2]) + sum(doubled[value] for value in values[1::2])) % 10 == 0


def mod_97(iban: str) -> bool:
    """Return whether an IBAN's letters and digits have the checksum of ISO 13616."""
    return int("".join(str(int(character, 36)) for character in iban[4:] + iban[:4])) % 97 == 1


def card(text: str, start: int, end: int) -> int:
    """Accept a card number by its checksum; a number without groups also by its network, or by words before it."""
    digits = "".join(filter(str.isdigit, text[start:end]))
    if not luhn(digits) or len(set(digits)) == 1:
        return start
    is_grouped = len(digits) < end - start
    is_known = any(
        first <= digits[: len(first)] <= last and len(digits) in lengths for first, last, lengths in _CARD_LENGTHS
    )
    return end if is_grouped or is_known or _CARD_WORDS.search(text[max(0, start - 40) : start]) else start


def iban(text: str, start: int, end: int) -> int:
    """Accept an IBAN by its country's length and its checksum; words behind it are left alone."""
    length = _IBAN_LENGTHS.get(text[start : start + 2].upper())
    if length is None:
        return start
    counts = list(accumulate(int(character.isalnum()) for character in text[start:end]))
    if counts[-1] < length:
        return start
    end = start + counts.index(length) + 1
    value = "".join(filter(str.isalnum, text[start:end])).upper()
    is_whole = end == len(text) or not (text[end].isalnum() or text[end] == "_")
    return end if is_whole and mod_97(value) else start


def ssn(text: str, start: int, end: int) -> int:
    """Accept a US social security number outside of the ranges that were never issued.

    Source: https://www.ssa.gov/employer/randomization.html, read 2026-11-27.
    """
    digits = "".join(filter(str.isdigit, text[start:end]))
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    return start if area in {"000", "666"} or area[0] == "9" or group == "00" or serial == "0000" else end


def email(text: str, start: int, end: int) -> int:
    """Accept an address whose domain can exist; `git@host` names a service."""
    local, _, domain = text[start:end].rpartition("@")
    label = domain.rpartition(".")[2].lower()
    is_address = label not in _NOT_TOP_LEVEL and local != "git" and ".." not in local and not local.endswith(".")
    return end if is_address else start


def ipv4(text: str, start: int, end: int) -> int:
    """Accept an address of four numbers up to 255 that isn't a version and belongs to somebody."""
    value = text[start:end]
    is_address = (
        all(int(part) < 256 and (part == "0" or part[0] != "0") for part in value.split("."))
        and not _NO_ONES_IPV4.match(value)
        and not _VERSION_BEFORE.search(text[max(0, start - 12) : start])
    )
    return end if is_address else start


def ipv6(text: str, start: int, end: int) -> int:
    """Accept an address in full, or a shortened one that starts as addresses in use do; `a::b` is also code."""
    value = text[start:end]
    if value.endswith(":") and not value.endswith("::"):
        value = value[:-1]
    try:
        address = ipaddress.IPv6Address(value)
    except ValueError:
        return start
    first = int(address) >> 112
    in_use = 0x2000 <= first < 0x4000 and len(value.split(":")[0]) == 4
    is_local = 0xFC00 <= first < 0xFE00 or 0xFE80 <= first < 0xFEC0
    groups = sum(map(bool, value.split(":")))
    is_address = "::" not in value or in_use or is_local or (groups >= 4 and any(map(str.isdigit, value)))
    return start + len(value) if is_address and int(address) > 1 else start


def mac(text: str, start: int, end: int) -> int:
    """Accept a hardware address, but for those of no device, and digits alone between dashes."""
    digits = text[start:end].replace(":", "").replace("-", "").lower()
    is_number = "-" in text[start:end] and digits.isdigit()
    return start if is_number or len(set(digits)) == 1 else end
