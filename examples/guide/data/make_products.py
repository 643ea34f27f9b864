"""Write products.jsonl: what is known about a product, and the text about it in the style of a house.

    python examples/guide/data/make_products.py

The rules of the house are in `style_rules.py`, which also scores answers by them.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

from noise import mojibake, write

HERE = Path(__file__).parent
CLOSING = "Use it. Mend it. Keep it."

KINDS = {
    "kettle": (["enamelled steel", "brushed steel", "copper"], ["boils {size} of water", "keeps a table in tea"]),
    "desk lamp": (
        ["oiled oak and brass", "powder-coated steel", "birch plywood"],
        ["lights a page and not the room", "turns where you turn it"],
    ),
    "bread knife": (
        ["carbon steel and plum wood", "stainless steel and ash", "forged steel and walnut"],
        ["goes through a crust without tearing it", "cuts soft tomatoes, too"],
    ),
    "wool blanket": (["Gotland wool", "lambswool", "wool and linen"], ["covers two on a sofa", "warms a cold chair"]),
    "chopping board": (["beech", "cherry wood", "maple end grain"], ["holds a whole loaf", "stays where you put it"]),
    "teapot": (["stoneware", "cast iron", "glass and cork"], ["pours without a drip", "holds tea for four"]),
    "apron": (["washed linen", "cotton canvas", "hemp"], ["has a pocket for a spoon", "ties at the front"]),
    "storage jar": (["glass and cork", "stoneware", "enamelled steel"], ["keeps coffee dry", "shows how much is left"]),
    "broom": (
        ["beech and horsehair", "ash and rice straw", "oak and coconut fibre"],
        ["reaches under a low bed", "stands by itself in a corner"],
    ),
    "door mat": (
        ["coir", "recycled rubber", "woven sisal"],
        ["takes the mud of four boots", "lies flat from the first day"],
    ),
}
SIZES = {
    "kettle": ["1.2 l", "1.5 l", "0.8 l"],
    "desk lamp": ["42 cm", "38 cm", "55 cm"],
    "bread knife": ["34 cm", "31 cm"],
    "wool blanket": ["130 x 180 cm", "150 x 200 cm"],
    "chopping board": ["40 x 28 cm", "50 x 32 cm"],
    "teapot": ["1.1 l", "0.9 l"],
    "apron": ["85 cm", "92 cm"],
    "storage jar": ["0.7 l", "1.4 l", "2 l"],
    "broom": ["128 cm", "140 cm"],
    "door mat": ["60 x 40 cm", "75 x 45 cm"],
}
CARE = [
    "wipe with a damp cloth",
    "wash by hand",
    "oil twice a year",
    "air it in the shade",
    "dry it at once",
    "brush it out",
]
COLOURS = ["ash grey", "moss green", "chalk white", "rust red", "ink blue", "sand"]
NAMES = [
    "Alder",
    "Bracken",
    "Corrie",
    "Dunlin",
    "Esker",
    "Fallow",
    "Gannet",
    "Heath",
    "Inver",
    "Juniper",
    "Kestrel",
    "Lomond",
    "Merle",
    "Nettle",
    "Osier",
    "Plover",
    "Quern",
    "Rowan",
    "Sorrel",
    "Teasel",
]

OPENINGS = [
    "{name} is a {kind} of {material}, in {colour}.",
    "{name} is made of {material} and comes in {colour}: a {kind} for every day.",
    "{name} began as a sketch for our own kitchen. It is a {kind} of {material}, in {colour}.",
    "{name}, a {kind} of {material} in {colour}, has no part that it doesn't need.",
    "{name} is a quiet {kind}. The {material} is {colour} and grows darker where you touch it.",
]
MIDDLES = [
    "It measures {size} and {use}.",
    "At {size} it {use}, and you can put it away with one hand.",
    "With its {size} it {use}.",
    "It {use}. Its size, {size}, is what most homes have a place for.",
    "You will find {size} enough, and it {use}.",
]
FEELINGS = [
    "You will know it in the dark by its weight.",
    "Nothing on it is there to be looked at, and yet you will look.",
    "If a part wears out, you can write to us for another.",
    "You need no manual, and there is none.",
    "Give it a year, and it will look like yours.",
    "It is plain, and you may come to like it for that.",
]
CARES = [
    "To look after it, {care}.",
    "Once in a while, {care}; it asks for no more.",
    "It stays as it is if you {care}.",
    "You only have to {care}.",
]
LOUD = [
    "The best {kind} you will ever own!",
    "An amazing {kind} that is perfect for everyone!",
    "Simply the most beautiful {kind} on the market!",
]


def product(rng: Random) -> dict[str, str]:
    """Return the facts about a product."""
    kind = rng.choice(list(KINDS))
    materials, uses = KINDS[kind]
    size = rng.choice(SIZES[kind])
    return {
        "name": rng.choice(NAMES),
        "kind": kind,
        "material": rng.choice(materials),
        "size": size,
        "colour": rng.choice(COLOURS),
        "use": rng.choice(uses).format(size=size),
        "care": rng.choice(CARE),
    }


def text(rng: Random, facts: dict[str, str]) -> str:
    """Return a text about a product as the house writes it."""
    middle = [rng.choice(MIDDLES), *rng.sample(FEELINGS, rng.choice([1, 2]))]
    if not any("you" in part.lower() for part in middle):
        middle.append("You will use it more than you think.")
    sentences = [rng.choice(OPENINGS), *middle, rng.choice(CARES)]
    return " ".join(sentences).format(**facts) + f"\n{CLOSING}"


def main() -> None:
    """Write 300 products, with some texts that an intern or an export got wrong."""
    rng = Random(20262)
    facts: list[dict[str, str]] = []
    while len(facts) < 282:
        found = product(rng)
        if found not in facts:
            facts.append(found)
    rows = [{**found, "text": text(rng, found)} for found in facts]
    bad = rng.sample(range(len(rows)), 30)
    for at in bad[:12]:  # before there were rules
        rows[at]["text"] = f"{LOUD[at % len(LOUD)].format(**rows[at])} " + rows[at]["text"].removesuffix(f"\n{CLOSING}")
    for at in bad[12:17]:  # a field that wasn't filled
        rows[at]["text"] = rows[at]["text"].replace(rows[at]["material"], "{{material}}")
    for at in bad[17:22]:  # cut off by a form with a limit
        rows[at]["text"] = rows[at]["text"][: len(rows[at]["text"]) // 2].rstrip(" .") + " and the"
    for at in bad[22:26]:
        rows[at]["text"] = mojibake(rows[at]["text"].replace("'", "’") + "\n© Tarn & Daughters")
    rows += [dict(row) for row in rng.sample(rows, 18)]  # in the catalogue twice
    rng.shuffle(rows)
    write(HERE / "products.jsonl", rows)


if __name__ == "__main__":
    main()
