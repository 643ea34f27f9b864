"""Write emails.jsonl and emails_test.jsonl: mail to a small shop for lamps and kitchen machines, in 8 categories.

    python examples/guide/data/make_emails.py

Every mail is put together from phrases of this file, by a seed. The last four requests of each category are in the
test mails alone, so that the test asks for more than phrases learned by heart.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

from noise import mojibake, rough, write

HERE = Path(__file__).parent
HELD_OUT = 4

REQUESTS = {
    "billing": [
        "My card was charged {amount} twice for order {order}.",
        "The invoice for {order} has the wrong VAT number on it, could you send a corrected one?",
        "I still wait for the {amount} you owe me, the {item} went back to you on {day}.",
        "Why is {amount} on my statement when the basket said less?",
        "The voucher I typed in wasn't taken off the total of {order}.",
        "Please split the bill for {order} between our two departments.",
        "I paid by transfer on {day} and you keep sending me reminders.",
        "Your bank details on the invoice don't work, the transfer came back.",
        "Can I pay {order} in three parts?",
        "You've taken {amount} for a subscription that I ended in spring.",
        "I need a receipt for {order} for my tax return.",
        "There is a fee of {amount} on the bill that nobody mentioned.",
        "Is it right that I was asked for customs of {amount} at the door? Your page said all duties were included.",
        "The gift card shows nothing left, though I've only spent {amount} of it.",
        "Our accountant says the total of {order} is off by {amount}.",
        "When will the money for the {item} I gave back be in my account?",
    ],
    "delivery": [
        "Where is order {order}? It should have been here on {day}.",
        "The tracking has said 'in transit' since {day}.",
        "Could you send the {item} to {city} instead? It hasn't left yet, I think.",
        "The courier says he handed it over, but nobody here got anything.",
        "Only one of two boxes of {order} has come.",
        "I won't be home on {day}, can the parcel go to a neighbour?",
        "Do you ship to {city}, and how long does it take?",
        "The driver left my {item} in the rain in front of the wrong house.",
        "Which courier do you use for {city}? One of them never finds us.",
        "I chose express for {order} and it's day five now.",
        "My parcel went back to you because the label couldn't be read, please send it again.",
        "Can you hold {order} until we have moved on {day}?",
        "Still nothing in the letterbox from you, and the link to follow the van is dead.",
        "You packed everything but the {item}, the slip says it follows, when?",
        "Is a pickup in {city} possible instead of waiting at home for a whole day?",
        "I'd need it before {day}, will that work out?",
    ],
    "returns": [
        "The {item} came with a crack on one side, I'd like another one.",
        "I want to send the {item} back, it's too big for our kitchen.",
        "How do I get a label to return order {order}?",
        "You sent a {item} in red, I ordered grey.",
        "The box was dented and the {item} in it is in two pieces.",
        "I've changed my mind about the {item}, it's still sealed.",
        "Am I still inside the 30 days if I bought it on {day}?",
        "There's a {item} in the parcel that I never ordered, how do I get it back to you?",
        "Can I swap the {item} for the smaller one?",
        "The glass was broken when I opened the parcel on {day}.",
        "Do I have to pay the postage if I don't keep the {item}?",
        "We got two pieces of the {item} and wanted one, where should the other go?",
        "It arrived scratched all over, and I won't keep it like that.",
        "The colour isn't what the picture shows, so it'll have to go home to you.",
        "Which form goes into the box if I don't want the {item} after all?",
        "My husband had already bought one, may I bring ours to your shop in {city} and get another thing for it?",
    ],
    "account": [
        "I can't log in any more, the reset mail never comes.",
        "Please change the address in my profile to {city}.",
        "Delete my account and everything you know about me, please.",
        "I have two accounts with you and would like to have one.",
        "How do I change the mail address that I sign in with?",
        "Take me off the newsletter, I've clicked the link three times.",
        "Somebody signed in to my account from {city} on {day}, it wasn't me.",
        "My order history is empty since {day}.",
        "The code for signing in is sent to a phone I no longer have.",
        "Which data about me do you keep? I'd like a copy.",
        "I married and need another surname in my profile.",
        "Your site says my account is locked.",
        "It won't accept my password since the last change of your site.",
        "My loyalty points have gone from the profile page.",
        "Can my colleague get a login of her own under our company?",
        "Stop writing to me about offers, but keep my orders where I can see them.",
    ],
    "technical": [
        "The app doesn't find the {item}, Bluetooth is on.",
        "How do I reset the {item} to the factory settings?",
        "After the update on {day} the {item} blinks blue and does nothing else.",
        "The timer in the app is an hour off since the clocks changed.",
        "My {item} drops out of the wifi every evening.",
        "Error E{digit} is on the display, what does it mean?",
        "The app closes as soon as I tap on schedules.",
        "I can't get the {item} to pair with a second phone.",
        "Where do I find the instructions for setting up the {item}?",
        "The {item} beeps three times when I plug it in, the book doesn't say why.",
        "Does the app need my location, and can I switch that off?",
        "Voice control turns on the wrong lamp.",
        "It says firmware too old, but there's no button for updating it.",
        "Every routine I set up in the app is gone the next morning.",
        "How do I take the {item} out of one network and put it in another one?",
        "The screen asks for a PIN that I've never set.",
    ],
    "advice": [
        "Which {item} would you take for a kitchen of nine square metres?",
        "Is the {item} loud? We have a small child.",
        "Does the {item} take bulbs of other makers?",
        "What's the difference between the {item} and the one that costs {amount}?",
        "Will the {item} come in green again?",
        "How much power does the {item} use in an hour?",
        "Is there a {item} that can stay outside in winter?",
        "I'm looking for a present of about {amount} for somebody who cooks a lot.",
        "How long is the cable of the {item}?",
        "Can the jug of the {item} go into the dishwasher?",
        "When is the {item} in stock again?",
        "Do you have the {item} with a British plug?",
        "We're a cafe in {city} and need four of them, is it made for that?",
        "Would it fit on a shelf that's 28 cm deep?",
        "Has the {item} got a part that touches the water and is made of plastic?",
        "What would suit a reading corner without much daylight?",
    ],
    "warranty": [
        "After eight months the {item} has stopped heating.",
        "The switch of my {item} broke off, I've had it since last year.",
        "The {item} that I bought in {city} two years ago leaks, is it still covered?",
        "My {item} died on {day}, after one winter.",
        "Where can I have the {item} repaired? It has worked for a year and now it hums.",
        "The hinge of the lid gave up after ten months.",
        "The battery of the {item} lasts ten minutes now, it used to last all day.",
        "Do you sell the seal for the {item}? Mine is worn out.",
        "You repaired the {item} in spring and it has the same fault again.",
        "How long is the guarantee for the {item}?",
        "The motor smells burnt since last week, we've used it for a year.",
        "The coating comes off the plate, and it isn't even two years old.",
        "It was fine for months, and since {day} it won't switch on at all.",
        "Is a spare lid to be had? I dropped ours.",
        "One of the feet has come loose after a year, can your workshop glue it?",
        "I've registered the {item} for the longer cover, and now I need it: no light any more.",
    ],
    "feedback": [
        "Just wanted to say that the {item} is a joy every morning.",
        "Your new site is hard to read, grey on grey.",
        "The woman on the phone on {day} was very patient with me, please tell her.",
        "So much paper around one {item}, does it have to be?",
        "I liked your old catalogue better.",
        "You might put the size of the {item} into the first line of the page.",
        "Waiting twenty minutes on the line is too long, even with nice music.",
        "Please bring back the shop in {city}, we miss it.",
        "The recipe cards that came along made our day.",
        "I find it a pity that you raise prices every spring.",
        "The survey you sent has eleven pages. Eleven!",
        "Nobody in the shop greeted us, that used to be different.",
        "Five stars from me, and I don't give them often.",
        "An idea: a drawer for the cable would be fine.",
        "Your last three mails had typos in them, which doesn't look good.",
        "Whoever wrote the little booklet should get a rise.",
    ],
}
"""Where two categories come near, the shop has rules: damaged on arrival is `returns`, broken later is `warranty`;
money that hasn't come back is `billing`; what the app or the display does is `technical`."""

FILLERS = [
    "I've been a customer for years.",
    "I wrote on {day} already and had no answer.",
    "The order number is {order}.",
    "It's the {item}, by the way.",
    "Please answer by mail, I can't phone at work.",
    "I bought it for my mother in {city}.",
    "No hurry.",
    "This is rather urgent for us.",
    "I hope I'm right here.",
    "Otherwise I'm happy with you.",
    "My phone is an old one, sorry for the typing.",
    "I tried the chat, but it didn't understand me.",
    "A friend told me to write to you.",
    "I attach a photo.",
    "We paid {amount} for it.",
    "It came quickly, that much is true.",
]
GREETINGS = ["Hello,", "Hi,", "Good morning,", "Dear team,", "Hey there,", "To whom it may concern,", "", "", ""]
ENDS = ["Thanks", "Kind regards", "Best, M.", "Regards, Zoë", "Thank you!", "Cheers", "sent from my phone", "", "", ""]
ITEMS = [
    "desk lamp",
    "kettle",
    "floor lamp",
    "toaster",
    "stand mixer",
    "coffee grinder",
    "bedside lamp",
    "hand blender",
    "table fan",
    "egg boiler",
]
CITIES = ["Graz", "Leeds", "Malmö", "Ghent", "Porto", "Aarhus", "Lyon", "Galway", "Trieste", "Gdańsk"]
DAYS = ["Monday", "Tuesday", "the 3rd", "12 May", "Friday", "last Thursday", "1 October", "Saturday", "the 21st"]


def filled(rng: Random, text: str) -> str:
    """Return a text with its blanks filled."""
    return text.format(
        amount=f"{rng.choice(['€', '£', 'EUR '])}{rng.randrange(9, 240)}",
        order=f"{rng.choice(['TC', '#', 'no. '])}{rng.randrange(10_000, 99_999)}",
        item=rng.choice(ITEMS),
        day=rng.choice(DAYS),
        city=rng.choice(CITIES),
        digit=rng.randrange(1, 9),
    )


def mail(rng: Random, request: str) -> str:
    """Return a mail around a request."""
    sentences = [request]
    for filler in rng.sample(FILLERS, rng.choice([0, 1, 1, 2])):
        sentences.insert(rng.choice([0, len(sentences)]), filler)
    body = rough(rng, filled(rng, " ".join(sentences)))
    return "\n".join(part for part in (rng.choice(GREETINGS), body, rng.choice(ENDS)) if part)


def mails(rng: Random, each: int, *, is_test: bool) -> list[dict[str, object]]:
    """Return the same number of mails for every category."""
    rows: list[dict[str, object]] = []
    for category, requests in REQUESTS.items():
        known = requests if is_test else requests[:-HELD_OUT]
        # Every request about as often as any other, in an order of its own.
        for number in range(each):
            rows.append({"text": mail(rng, known[number % len(known)]), "category": category})
    rng.shuffle(rows)
    return rows


def main() -> None:
    """Write the mails for training, with what usually is wrong with such a file, and those for the test, checked."""
    rng = Random(20261)
    train, test = mails(rng, 84, is_test=False), mails(rng, 40, is_test=True)
    names = list(REQUESTS)
    for row in rng.sample(train, 26):  # somebody clicked the wrong button
        row["category"] = rng.choice([name for name in names if name != row["category"]])
    for row in rng.sample(train, 6):  # an export wrote some with a capital
        row["category"] = str(row["category"]).capitalize()
    for row in rng.sample([row for row in train if not str(row["text"]).isascii()], 7):
        row["text"] = mojibake(str(row["text"]))
    for number, row in enumerate(rng.sample(train, 9)):
        row["text"] = f"{row['text']}\nmira.lund{number}@example.org, +44 20 7946 0{100 + number}"
    train += [dict(row) for row in rng.sample(train, 22)]  # sent twice
    train += [dict(row) for row in rng.sample(test, 9)]  # also among the test mails
    train += [{"text": "", "category": "feedback"}, {"text": "  ", "category": "delivery"}]
    rng.shuffle(train)
    write(HERE / "emails.jsonl", train)
    write(HERE / "emails_test.jsonl", test)


if __name__ == "__main__":
    main()
