import random

import pytest

from ftsdk import Dataset, DatasetError, Fingerprint, SpecError
from ftsdk.deploy.drift import DriftWatch, TextMeasures, measure_texts

WORDS = {
    "billing": ["invoice", "charge", "card", "refund", "paid", "twice", "price", "tax", "amount", "bank"],
    "shipping": ["parcel", "courier", "door", "late", "tracking", "address", "box", "delivery", "van", "street"],
    "travel": ["visa", "flight", "luggage", "hotel", "airport", "passport", "booking", "gate", "seat", "beach"],
}
COMMON = ["please", "hello", "my", "the", "a", "is", "was", "not", "it", "and", "you", "can", "i", "have", "today"]


def text_of(topic, chance):
    n = chance.randint(6, 24)
    return " ".join(chance.choice(WORDS[topic] if chance.random() < 0.4 else COMMON) for _ in range(n))


def rows_of(n, seed, topics=("billing", "shipping")):
    chance = random.Random(seed)
    chosen = [chance.choice(topics) for _ in range(n)]
    return [{"prompt": text_of(topic, chance), "completion": topic, "product": topic} for topic in chosen]


def measured(row, answer=None):
    return measure_texts([{"role": "user", "content": row["prompt"]}], row["completion"] if answer is None else answer)


@pytest.fixture(scope="module")
def fingerprint():
    return Fingerprint.of(Dataset.from_rows(rows_of(600, 1), name="mails"))


def watch(fingerprint, rows, **settings):
    found = DriftWatch(fingerprint, **settings)
    for n, row in enumerate(rows):
        found.add(f"r{n}", float(n), measured(row))
    return found


def test_new_topics_are_seen_and_shown(fingerprint):
    rows = [*rows_of(200, 2), *rows_of(200, 3, topics=("billing", "shipping", "travel"))]
    found = watch(fingerprint, rows, window=200)
    first, second = found.looks
    assert first.alarms == ()
    assert first.examples == ()
    assert "input texts" in {check.what for check in second.alarms}
    labels = next(check for check in second.alarms if check.what == "output labels")
    assert labels.moved[0][0] in ("billing", "shipping", "(not a label)")
    shown = [rows[int(name[1:])] for name in second.examples]
    assert len(shown) == 5
    assert sum(row["completion"] == "travel" for row in shown) >= 4


def test_longer_inputs_are_seen(fingerprint):
    rows = [{**row, "prompt": f"{row['prompt']} {row['prompt']}"} for row in rows_of(200, 4)]
    (look,) = watch(fingerprint, rows, window=200).looks
    alarm = next(check for check in look.alarms if check.what == "input length")
    assert alarm.value > 0.2
    assert "input length (PSI" in str(alarm)


def test_fewer_than_200_answers_never_alarm(fingerprint):
    found = watch(fingerprint, rows_of(199, 5, topics=("travel",)), window=200)
    assert found.looks == ()
    assert found.waiting == 199
    with pytest.raises(SpecError, match="at least 200"):
        DriftWatch(fingerprint, window=199)
    with pytest.raises(DatasetError, match="too few"):
        Fingerprint.of(Dataset.from_rows(rows_of(199, 5)))


def test_a_check_without_200_measured_answers_is_left_out(fingerprint):
    found = DriftWatch(fingerprint, window=200)
    for n, row in enumerate(rows_of(200, 6, topics=("travel",))):
        measures = measured(row)
        found.add(f"r{n}", float(n), measures if n < 100 else {"input_chars": measures["input_chars"]})
    assert {check.what for check in found.looks[0].checks} == {"input length"}


def test_each_slice_is_compared_with_its_own_rows():
    made = Fingerprint.of(Dataset.from_rows(rows_of(1200, 7)), slice_by="product")
    assert set(made.slices) == {"billing", "shipping"}
    found = DriftWatch(made, window=200)
    for n, row in enumerate(rows_of(1000, 8)):
        # The slices have each other's texts: together nothing has changed.
        other = "shipping" if row["product"] == "billing" else "billing"
        found.add(f"r{n}", float(n), measured(row), slice=other)
    found.add("new", 0.0, measured(row), slice="furniture")
    alarms = {look.slice for look in found.looks if look.alarms}
    assert alarms == {"billing", "shipping"}
    assert found.unknown_slices == {"furniture": 1}


def test_levels_of_all_looks_and_checks_sum_to_at_most_alpha():
    made = Fingerprint.of(Dataset.from_rows(rows_of(1200, 7)), slice_by="product")
    found = DriftWatch(made, window=200, alpha=0.05)
    for n, row in enumerate(rows_of(2000, 9)):
        found.add(f"r{n}", float(n), measured(row), slice=row["product"])
    assert len(found.looks) > 15
    assert 0.02 < sum(check.level for look in found.looks for check in look.checks) <= 0.05


def false_alarms(trials, looks, seed):
    """Return in how many trials without drift there was any alarm, with and without the limits of what matters."""
    chance = random.Random(seed)
    alarms = by_chance = 0
    for _ in range(trials):
        made = Fingerprint.of(Dataset.from_rows(rows_of(chance.choice([250, 600, 1500]), chance.random())))
        found = watch(made, rows_of(looks * 200, chance.random()), window=200)
        alarms += any(look.alarms for look in found.looks)
        by_chance += any(check.p_value <= check.level for look in found.looks for check in look.checks)
    return alarms, by_chance


@pytest.mark.parametrize(("trials", "looks"), [(8, 4), pytest.param(150, 20, marks=pytest.mark.slow)])
def test_without_drift_alarms_are_rarer_than_the_level_over_all_looks(trials, looks):
    alarms, by_chance = false_alarms(trials, looks, 10)
    most = 0.05 * trials + 3 * (0.05 * 0.95 * trials) ** 0.5
    assert alarms <= by_chance <= most
    assert trials < 100 or alarms <= 0.05 * trials


def found_share(share, trials, seed):
    chance = random.Random(seed)
    found = 0
    for _ in range(trials):
        made = Fingerprint.of(Dataset.from_rows(rows_of(600, chance.random())))
        new = rows_of(int(500 * share), chance.random(), topics=("travel",))
        (look,) = watch(made, [*rows_of(500 - len(new), chance.random()), *new], window=500).looks
        found += bool(look.alarms)
    return found / trials


@pytest.mark.parametrize("trials", [3, pytest.param(60, marks=pytest.mark.slow)])
def test_a_third_of_the_texts_from_elsewhere_is_found_in_one_window(trials):
    assert found_share(0.33, trials, 11) >= 0.95


def test_a_fingerprint_is_a_file_and_holds_no_training_text(fingerprint, tmp_path):
    path = fingerprint.save(tmp_path / "fingerprint.json")
    assert Fingerprint.load(path) == fingerprint
    text = path.read_text()
    assert "parcel" not in text
    assert "shipping" in text
    assert path.stat().st_mode & 0o777 == 0o600
    assert str(fingerprint).startswith("Fingerprint of 600 rows of mails, 2 labels")
    with pytest.raises(DatasetError, match="can't be read"):
        Fingerprint.load(tmp_path / "none.json")


def test_measures_hold_no_text_and_labels_are_known_whatever_their_case(fingerprint):
    measures = measure_texts([{"role": "user", "content": "My secret parcel"}], " Shipping\n")
    assert "parcel" not in repr(measures)
    assert "hipping" not in repr(measures)
    assert fingerprint.label_of(measures) == "shipping"
    assert fingerprint.label_of(measure_texts([], "weather")) == "(not a label)"
    assert fingerprint.label_of(measure_texts([], None)) is None


def test_the_last_user_message_is_measured_in_whatever_form_it_comes():
    parts = [{"type": "text", "text": "four"}, {"type": "image_url", "image_url": {"url": "x"}}]
    messages = [{"role": "user", "content": "first"}, {"role": "assistant"}, {"role": "user", "content": parts}]
    assert measure_texts(messages, None)["input_chars"] == 4
    assert measure_texts([], "")["input_chars"] == 0
    assert measure_texts([{"role": "user", "content": "\ud800 half"}], "x" * 100_000)["output_chars"] == 100_000


def test_languages_are_compared_where_they_are_measured():
    pytest.importorskip("py3langid")
    english = "Where is the parcel that I ordered from your shop on Monday, number {}?"
    german = "Wo ist das Paket, das ich am Montag in Ihrem Laden bestellt habe, Nummer {}?"
    rows = [{"prompt": english.format(n), "completion": "shipping"} for n in range(300)]
    made = Fingerprint.of(Dataset.from_rows(rows))
    assert made.whole.languages == {"en": 300}
    measure, found = TextMeasures(), DriftWatch(made, window=200)
    for n in range(200):
        text = (english if n % 2 else german).format(n)
        found.add(f"r{n}", float(n), measure([{"role": "user", "content": text}], "shipping"))
    alarm = next(check for check in found.looks[0].alarms if check.what == "input language")
    assert alarm.moved[0] in (("de", 0.0, 0.5), ("en", 1.0, 0.5))


def test_preference_rows_have_no_fingerprint():
    rows = Dataset.from_rows([{"prompt": "a", "chosen": "b", "rejected": "c"}])
    with pytest.raises(DatasetError, match="chat rows"):
        Fingerprint.of(rows)
