"""Write repairs.jsonl: what customers wrote to a repair shop, and the order that somebody typed in from it, as JSON.

python examples/guide/data/make_repairs.py
"""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any

from noise import rough, write

HERE = Path(__file__).parent
DEVICES = {
    "kettle": ["kettle", "water boiler"],
    "toaster": ["toaster"],
    "lamp": ["floor lamp", "reading lamp", "lamp"],
    "radio": ["kitchen radio", "radio"],
    "fan": ["table fan", "fan"],
    "mixer": ["stand mixer", "hand mixer", "mixer"],
}
FAULTS = {
    "no_power": ["won't switch on", "is dead since yesterday", "does nothing at all", "has no power"],
    "noise": ["hums", "rattles", "makes a grinding noise", "squeaks all the time"],
    "leak": ["drips", "loses water", "leaves a puddle", "leaks at the bottom"],
    "smell": ["smells burnt", "stinks of plastic", "smells of smoke", "gives off a sharp smell"],
    "broken_part": ["has a broken switch", "lost a foot", "has a crack in the lid", "came down, and the handle is off"],
}
URGENCY = {
    "low": ["No hurry.", "Take your time.", "It can wait."],
    "normal": ["", "", ""],
    "high": ["I need it back soon.", "It's urgent.", "Please be quick, we use it daily."],
}
FIRST = ["Ines", "Tomas", "Greta", "Amadou", "Zoë", "Piotr", "Lena", "Björn", "Mei", "Ruth", "Carlos", "Aoife", "Nuno"]
LAST = ["Halvorsen", "Okafor", "Lindqvist", "Marsh", "Kowalska", "Ferreira", "Brandt", "Sato", "Byrne", "Nagy", "Roux"]
MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]


def spoken(rng: Random, day: date) -> str:
    """Return a date as people write it."""
    month = MONTHS[day.month - 1]
    forms = (
        f"{day.day} {month} {day.year}",
        f"{month} {day.day}, {day.year}",
        f"{day.day:02}.{day.month:02}.{day.year}",
    )
    return rng.choice(forms)


def request(rng: Random) -> dict[str, str]:
    """Return a message and the order that belongs to it."""
    name = f"{rng.choice(FIRST)} {rng.choice(LAST)}"
    kind, fault, urgency = rng.choice(list(DEVICES)), rng.choice(list(FAULTS)), rng.choice(list(URGENCY))
    order: dict[str, Any] = {"customer": {"name": name}, "device": {"kind": kind}, "fault": fault, "urgency": urgency}
    thing = rng.choice(DEVICES[kind])
    bought = date(2023, 1, 1) + timedelta(days=rng.randrange(1_000))
    if rng.random() < 0.6:
        order["device"]["bought_on"] = bought.isoformat()
        thing = rng.choice([f"{thing} I bought on {spoken(rng, bought)}", f"{thing} (bought {spoken(rng, bought)})"])
    parts = [f"{rng.choice(['The', 'My'])} {thing} {rng.choice(FAULTS[fault])}.", rng.choice(URGENCY[urgency])]
    if rng.random() < 0.5:
        limit = rng.choice([15, 20, 25, 30, 40, 55, 60, 12.5, 37.5])
        order["limit_eur"] = limit
        parts.append(rng.choice([f"Not more than {limit:g} euros, please.", f"I'd pay up to €{limit:g}."]))
    if rng.random() < 0.5:
        visit = date(2026, 1, 5) + timedelta(days=rng.randrange(300))
        hour = rng.choice(["09:00", "10:30", "14:15", "16:00", "17:45"])
        order["visit"] = {"date": visit.isoformat(), "time": hour}
        parts.append(f"I can come by on {spoken(rng, visit)} at {hour.lstrip('0')}.")
    if rng.random() < 0.4:
        phone = f"0{rng.randrange(20, 99)} 555 {rng.randrange(1_000, 9_999)}"
        order["customer"]["phone"] = phone
        parts.append(f"My number is {phone}.")
    rng.shuffle(parts)
    body = rough(rng, " ".join(part for part in parts if part)) if rng.random() < 0.4 else " ".join(filter(None, parts))
    message = rng.choice([f"{body} {name}", f"Hello, {name} here. {body}", f"{body}\nRegards, {name}"])
    return {"message": message, "order": json.dumps(order, ensure_ascii=False)}


def main() -> None:
    """Write 500 messages, with some orders that aren't JSON, or say something else than the message."""
    rng = Random(20263)
    rows = [request(rng) for _ in range(486)]
    bad = rng.sample(range(len(rows)), 26)
    for at in bad[:7]:
        rows[at]["order"] = rows[at]["order"][:-1]
    for at in bad[7:12]:
        rows[at]["order"] = rows[at]["order"].replace("}", ",}", 1)
    for at in bad[12:16]:
        rows[at]["order"] = f"```json\n{rows[at]['order']}"
    for at in bad[16:26]:  # typed in from another message
        rows[at]["order"] = rows[(at + 1) % len(rows)]["order"]
    rows += [dict(row) for row in rng.sample(rows, 14)]
    rng.shuffle(rows)
    write(HERE / "repairs.jsonl", rows)


if __name__ == "__main__":
    main()
