"""Generated rows with personal data and credentials planted in them, and clean rows that look as if."""

from __future__ import annotations

import random
import string
from typing import NamedTuple

_TEXT = (
    "the order was placed on our site and we would like to know when it arrives because a customer asked for an update "
    "about shipping delays in this region please check whether the warehouse has enough stock before you answer thank "
    "you very much for your help with the returned item that did not fit as expected since size and colour were wrong "
    "after several weeks of waiting they finally sent another parcel which turned out to be damaged during transport "
    "so now someone needs to open a claim with the carrier while keeping everybody informed by letter every day"
)
WORDS = _TEXT.split()
HEX = "0123456789abcdef"
ALNUM = string.ascii_letters + string.digits


class Row(NamedTuple):
    text: str
    kind: str | None
    """What is planted; None: nothing."""
    value: str


def rows(count: int, seed: int, *, planted: float = 0.1, words: int = 100) -> list[Row]:
    """Rows of about 100 words; of the clean ones every fifth has numbers, versions, prices or other look-alikes."""
    draw = random.Random(seed)
    sentence = [" ".join(draw.choices(WORDS, k=draw.randint(5, 15))).capitalize() + "." for _ in range(4_000)]
    kinds = tuple(VALUES)
    result: list[Row] = []
    for _ in range(count):
        parts = draw.choices(sentence, k=words // 10)
        kind, value = None, ""
        if draw.random() < planted:
            kind = draw.choice(kinds)
            value = VALUES[kind](draw)
            parts.insert(draw.randrange(len(parts) + 1), draw.choice(LEADS[kind]).format(value))
        elif draw.random() < 0.2:
            parts.insert(draw.randrange(len(parts) + 1), look_alike(draw))
        result.append(Row(" ".join(parts), kind, value))
    return result


def digits(draw: random.Random, pattern: str) -> str:
    return "".join(
        draw.choice(string.digits) if c == "#" else draw.choice("23456789") if c == "N" else c for c in pattern
    )


def email(draw: random.Random) -> str:
    name = draw.choice(["j.smith", "anna", "maria_lopez", "bob+news", "x1987", "li-wei", "o'brien", "kurt.von.b"])
    end = draw.choice(["com", "org", "net", "io", "co.uk", "de", "museum", "gov.au", "example"])
    return f"{name}{draw.randrange(1000)}@{draw.choice(['mail', 'corp-x', 'a1', 'my.host'])}.{end}"


def luhn_digit(number: str) -> str:
    total = sum(sum(divmod(int(d) * (2 - i % 2), 10)) for i, d in enumerate(reversed(number)))
    return str(-total % 10)


def card(draw: random.Random) -> str:
    start, length = draw.choice([("4", 16), ("51", 16), ("2221", 16), ("6011", 16), ("34", 15), ("4", 13), ("36", 14)])
    body = start + "".join(draw.choices(string.digits, k=length - len(start) - 1))
    number = body + luhn_digit(body)
    mark = draw.choice(["", " ", "-"])
    if length == 16:
        return mark.join(number[i : i + 4] for i in range(0, 16, 4))
    return mark.join((number[:4], number[4:10], number[10:])) if length in (14, 15) else number


def iban(draw: random.Random) -> str:
    country, length, letters = draw.choice(
        [("DE", 22, 0), ("GB", 22, 4), ("FR", 27, 0), ("NL", 18, 4), ("NO", 15, 0), ("MT", 31, 4), ("ES", 24, 0)]
    )
    rest = "".join(draw.choices(string.ascii_uppercase, k=letters)) + "".join(
        draw.choices(string.digits, k=length - 4 - letters)
    )
    check = 98 - int("".join(str(int(c, 36)) for c in rest + country + "00")) % 97
    value = f"{country}{check:02}{rest}"
    return value if draw.random() < 0.5 else " ".join(value[i : i + 4] for i in range(0, length, 4))


def ssn(draw: random.Random) -> str:
    area = draw.choice([n for n in range(1, 900) if n != 666])
    return f"{area:03}-{draw.randint(1, 99):02}-{draw.randint(1, 9999):04}"


def ip(draw: random.Random) -> str:
    return f"{draw.randint(1, 223)}." + ".".join(str(draw.randrange(256)) for _ in range(3))


def ipv6(draw: random.Random) -> str:
    groups = [f"{draw.choice(['2001', '2a02', 'fe80', '2606'])}", *(f"{draw.randrange(65536):x}" for _ in range(7))]
    return ":".join(groups) if draw.random() < 0.5 else f"{groups[0]}:{groups[1]}::{groups[2]}:{groups[3]}"


def phone(draw: random.Random) -> str:
    forms = (
        "(###) ###-####", "###-###-####", "###.###.####", "+1-###-###-####", "001-###-###-####", "N## N## ####",
        "###-###-####x###", "(###)###-#### ext. ##", "1-800-###-####", "N##N######", "+44 20 #### ####",
        "+44 7### ######",
        "020 7### ####", "07### ######", "07#########", "0161 ### ####", "+49 30 ########", "+33 6 ## ## ## ##",
        "+91 ##### #####", "+61 4## ### ###", "0044 20 #### ####", "+4917########", "06 ## ## ## ##", "N##-####",
    )  # fmt: skip
    return digits(draw, draw.choice(forms))


def token(draw: random.Random, count: int, letters: str = ALNUM) -> str:
    return "".join(draw.choices(letters, k=count))


CREDENTIAL_FORMS = {
    "aws": lambda d: "AKIA" + token(d, 16, string.ascii_uppercase + "234567"),
    "azure": lambda d: f"DefaultEndpointsProtocol=https;AccountName=x;AccountKey={token(d, 86)}==",
    "github": lambda d: "ghp_" + token(d, 36),
    "github fine-grained": lambda d: f"github_pat_{token(d, 22)}_{token(d, 59)}",
    "gitlab": lambda d: "glpat-" + token(d, 20),
    "openai": lambda d: f"sk-{token(d, 20)}T3BlbkFJ{token(d, 20)}",
    "openai project": lambda d: f"sk-proj-{token(d, 74, ALNUM + '_-')}T3BlbkFJ{token(d, 74, ALNUM)}",
    "anthropic": lambda d: f"sk-ant-api03-{token(d, 93, ALNUM + '_-')}AA",
    "hugging face": lambda d: "hf_" + token(d, 34, string.ascii_letters),
    "together": lambda d: "tgp_v1_" + token(d, 43),
    "modal": lambda d: "ak-" + token(d, 22),
    "google": lambda d: "AIza" + token(d, 35),
    "slack": lambda d: f"xoxb-{token(d, 12, string.digits)}-{token(d, 12, string.digits)}-{token(d, 24)}",
    "stripe": lambda d: "sk_live_" + token(d, 24),
    "npm": lambda d: "npm_" + token(d, 36),
    "pypi": lambda d: "pypi-AgEIcHlwaS5vcmc" + token(d, 90),
    "sendgrid": lambda d: f"SG.{token(d, 22)}.{token(d, 43)}",
    "twilio": lambda d: "SK" + token(d, 32, HEX),
    "private key": lambda d: (
        f"-----BEGIN RSA PRIVATE KEY-----\n{token(d, 64)}\n{token(d, 64)}\n-----END RSA PRIVATE KEY-----"
    ),
}


def credential(draw: random.Random) -> str:
    return draw.choice(list(CREDENTIAL_FORMS.values()))(draw)


VALUES = {
    "email": email, "card": card, "iban": iban, "ssn": ssn, "ip": ip, "ipv6": ipv6, "phone": phone,
    "credential": credential,
}  # fmt: skip
LEADS = {
    "email": ("Write to {}.", "My address is {}, as before.", "<{}>", "Contact: {}"),
    "card": ("I paid with {}.", "Card {} was charged.", "The number: {}, valid for a year.", "{}"),
    "iban": ("Transfer it to {} today.", "IBAN: {}.", "{}"),
    "ssn": ("My SSN is {}.", "Social security number {}, thanks.", "{}"),
    "ip": ("It came from {}.", "Host {}:8080 is down.", "http://{}/index.html", "{}"),
    "ipv6": ("It came from {}.", "Address {} is down,", "{}"),
    "phone": ("Call me at {}.", "Phone: {}", "My number is {}, after six.", "Tel. {}", "Reach us on {}."),
    "credential": ("Use {} for now.", "key={}", '"token": "{}",', "{}"),
}


def look_alike(draw: random.Random) -> str:
    """A sentence of numbers and names without personal data."""
    form = draw.choice(
        (
            "Order number N#########.", "Version 2.##.#.4 and v1.2.3.4 work.", "It costs $1,###.## or 12,345.## EUR.",
            "On 2026-0N-1# at 1#:45:3# we left.", "ISBN 978-3-16-14841#-0 is out.", "Ticket #N##### took 1###### ms.",
            "Use std::vector and a[1::2].", "See section 4.3.2.1 and RFC 2#1#.", "Values: 100, 200, 300, 4000, 50000.",
            "The ratio is 3.14159265358979#.", "Between 1990 and 2026 it rose by ##%.",
            "Parse logo@2x.png and @handle.",
            "Commit 9fceb02d0ae598e95dc970b74767f19372d6#### broke it.", "Room 12-34-5, row 7-8-9.",
            "ID 550e8400-e29b-41d4-a716-44665544####.", "At 127.0.0.1 and 0.0.0.0 nobody lives.",
            "A state-of-the-art decision-making-process-oriented task.", "Set OPENAI_API_KEY=sk-... in the shell.",
            "Population: 1,4##,###,### in 2025.", "Epoch 17######## in seconds.", "48/2 = <<48/2=24>>24 clips in May.",
        )
    )  # fmt: skip
    return digits(draw, form)
