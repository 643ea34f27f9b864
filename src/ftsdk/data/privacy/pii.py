"""Personal data that has a form: addresses and numbers of people."""

from __future__ import annotations

import re

from ftsdk.data.privacy import checks
from ftsdk.data.privacy.kind import Kind
from ftsdk.data.privacy.phones import PHONE, phone

__all__ = ["PII"]

_GAP = "[ \\u00a0\\u202f.\\u2010-\\u2013-]"
_SSN_GAP = "[ \\u00a0\\u2010-\\u2013-]"
_NUMBER_STARTS = re.compile("[0-9+(](?=(?:[^0-9A-Za-z]{0,4}[0-9]){6})")
_DATE = (
    r"(?:\d{1,4}[./-]\d{1,2}[./-]\d{1,4}"
    r"|\d{1,2}(?:st|nd|rd|th)?(?: of)? [a-z]{3,9}\.?,? \d{4}|[a-z]{3,9}\.? \d{1,2}(?:st|nd|rd|th)?,? \d{4})"
)

PII: tuple[Kind, ...] = (
    Kind(
        name="email",
        placeholder="EMAIL",
        gate="at",
        pattern=re.compile(
            r"(?<![\w.!#$%&'*+/=?^`{|}~-])[\w!#$%&*+?^~-](?:[\w.!#$%&'*+/=?^`{|}~-]{0,63}[\w!#$%&'*+?^~-])?"
            r"@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}(?:xn--[a-z0-9-]{2,59}|[^\W\d_]{2,24})(?![\w@-])",
            re.IGNORECASE,
        ),
        check=checks.email,
        source="https://www.rfc-editor.org/rfc/rfc5322#section-3.4.1",
    ),
    Kind(
        name="iban",
        placeholder="IBAN",
        gate="iban",
        pattern=re.compile(
            r"(?<![A-Za-z0-9_])(?:[A-Z]{2}[0-9]{2}(?:[ \u00a0-]?[A-Z0-9]){11,30}|[A-Za-z]{2}[0-9]{2}[A-Za-z0-9]{11,30})"
        ),
        check=checks.iban,
        source="https://www.swift.com/standards/data-standards/iban-international-bank-account-number",
    ),
    Kind(
        name="card",
        placeholder="CARD",
        gate="digits",
        anchor=_NUMBER_STARTS,
        pattern=re.compile(
            r"(?<![0-9A-Za-z_])(?<![0-9][.-])(?<![A-Z]{2}[0-9]{2}[ -])(?:"
            rf"[0-9]{{4}}(?P<four>{_GAP})[0-9]{{4}}(?P=four)[0-9]{{4}}(?P=four)[0-9]{{1,4}}"
            rf"(?:(?P=four)[0-9]{{1,3}})?|[0-9]{{4}}(?P<six>{_GAP})[0-9]{{6}}(?P=six)[0-9]{{4,5}}|[0-9]{{13,19}})"
            r"(?![0-9A-Za-z_]|[.-][0-9])"
        ),
        check=checks.card,
        source="https://www.iso.org/standard/70484.html",
    ),
    Kind(
        name="ssn",
        placeholder="SSN",
        gate="digits",
        anchor=_NUMBER_STARTS,
        pattern=re.compile(
            rf"(?<![\w.$-])(?<!\d[ ,])\d{{3}}(?P<gap>{_SSN_GAP})\d{{2}}(?P=gap)\d{{4}}(?!\w|[-.]\d|[ ,]\d)"
        ),
        check=checks.ssn,
        source="https://www.ssa.gov/employer/randomization.html",
    ),
    Kind(
        name="ssn",
        placeholder="SSN",
        gate="digits",
        pattern=re.compile(
            r"(?i)\b(?:ssn|social security)\b(?: number| no\.?)?[\s:#=]{0,3}(?:is\s)?\s?(?P<value>[0-9]{9})(?!\w)"
        ),
        needs=("SSN", "ssn", "ocial", "OCIAL"),
        check=checks.ssn,
        source="https://www.ssa.gov/employer/randomization.html",
    ),
    Kind(
        name="ip",
        placeholder="IP",
        gate="dotted",
        pattern=re.compile(r"(?<![\w.-])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w-]|\.[0-9])"),
        check=checks.ipv4,
        source="https://www.rfc-editor.org/rfc/rfc6943#section-3.1.1",
    ),
    Kind(
        name="mac",
        placeholder="MAC",
        gate="colons",
        pattern=re.compile(r"(?<![\w:-])[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}(?![\w:-])"),
        check=checks.mac,
        source="https://standards.ieee.org/products-programs/regauth/",
    ),
    Kind(
        name="mac",
        placeholder="MAC",
        gate="dashed",
        pattern=re.compile(r"(?<![\w:-])[0-9A-Fa-f]{2}(?:-[0-9A-Fa-f]{2}){5}(?![\w:-])"),
        check=checks.mac,
        source="https://standards.ieee.org/products-programs/regauth/",
    ),
    Kind(
        name="ip",
        placeholder="IP",
        gate="colons",
        pattern=re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{1,4}|:)(?::[0-9A-Fa-f]{0,4}){2,8}(?![\w])"),
        check=checks.ipv6,
        source="https://www.rfc-editor.org/rfc/rfc4291#section-2.2",
    ),
    Kind(
        name="date_of_birth",
        placeholder="DATE_OF_BIRTH",
        gate="date",
        pattern=re.compile(
            r"(?i)\b(?:date of birth|birth ?date|d\.o\.b\.?|dob)\b[\s:.=-]{0,4}(?:is |was |on ){0,2}"
            rf"(?P<value>{_DATE})(?!\w)"
        ),
        needs=("irth", "IRTH", "dob", "DOB", "DoB", "o.b", "O.B"),
        source="https://www.rfc-editor.org/rfc/rfc3339",
    ),
    Kind(
        name="phone",
        placeholder="PHONE",
        gate="digits",
        anchor=_NUMBER_STARTS,
        pattern=PHONE,
        check=phone,
        source="https://www.itu.int/rec/T-REC-E.164",
    ),
)
"""In order of preference where two kinds fit the same characters."""
