"""Near-duplicates: what is found, and that the order of the rows doesn't matter."""

from __future__ import annotations

import random

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from training_figures import load

from ftsdk.data import Dataset
from ftsdk.data.duplicates.near import near_duplicates, similar_short_texts, split_clusters


def words(seed: int, count: int = 40) -> list[str]:
    draw = random.Random(seed)
    return [f"word{draw.randrange(3000)}" for _ in range(count)]


def text(seed: int, count: int = 40) -> str:
    return " ".join(words(seed, count))


def true_similarity(one: str, other: str) -> float:
    first, second = ({tuple(t.lower().split()[i : i + 3]) for i in range(len(t.split()) - 2)} for t in (one, other))
    return len(first & second) / len(first | second)


def test_generated_duplicates_are_found_and_nothing_else() -> None:
    made = load("generated_rows")
    rows = list(made.generated_rows(3000, seed=5))
    found = near_duplicates([row.text for row in rows])
    assert min(made.quality([list(c) for c in found.clusters], [row.cluster for row in rows])) >= 0.99


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 4), st.booleans()), min_size=2, max_size=40),
    st.randoms(use_true_random=False),
)
def test_clusters_are_a_partition_that_only_permutes_with_the_rows(
    made: list[tuple[int, int, bool]], shuffled: random.Random
) -> None:
    rows: list[str] = []
    for seed, edits, is_upper in made:
        found = words(seed)
        for edit in range(edits):
            found[edit * 7] = f"other{edit}"
        rows.append(" ".join(found).upper() if is_upper else " ".join(found))
    clusters, pairs = near_duplicates(rows)
    members = [row for cluster in clusters for row in cluster]
    assert len(members) == len(set(members))
    assert all(len(cluster) > 1 and list(cluster) == sorted(cluster) for cluster in clusters)
    for pair in pairs:
        assert pair.position < pair.other
        assert pair.similarity == pytest.approx(true_similarity(rows[pair.position], rows[pair.other]))
        assert pair.similarity >= 0.7
        assert any({pair.position, pair.other} <= set(cluster) for cluster in clusters)
    cluster_of = {row: number for number, cluster in enumerate(clusters) for row in cluster}
    for one in range(len(rows)):
        for other in range(one):
            if true_similarity(rows[one], rows[other]) >= 0.9:
                assert cluster_of[one] == cluster_of[other]
    order = list(range(len(rows)))
    shuffled.shuffle(order)
    again = near_duplicates([rows[row] for row in order]).clusters
    assert sorted(tuple(sorted(order[row] for row in cluster)) for cluster in again) == sorted(clusters)


def test_arrow_columns_give_what_lists_give() -> None:
    rows = [text(n % 7) + (" more" if n % 2 else "") for n in range(40)]
    chunked = pyarrow.chunked_array([rows[:15], rows[15:]])
    for given_as in (chunked, pyarrow.array(rows), pyarrow.array(rows, pyarrow.large_string())):
        assert near_duplicates(given_as) == near_duplicates(rows)


@pytest.mark.parametrize("rows", [[], [""], ["", ""], ["a b"] * 3, [" ".join("ab" * 9)] * 2])
def test_short_and_empty_texts_are_in_no_cluster(rows: list[str]) -> None:
    assert near_duplicates(rows) == ((), ())
    assert split_clusters(rows) == ()


def test_case_blanks_and_unicode_forms_do_not_count() -> None:
    plain = "caf\u00e9 " + text(1)
    other = "CAFE\u0301\n  " + text(1).replace(" ", "\t")
    assert near_duplicates([plain, other]).pairs == ((0, 1, 1.0),)


def test_scripts_without_blanks_are_compared_by_character() -> None:
    one = "".join(chr(0x4E00 + n * 37 % 5000) for n in range(60))
    assert near_duplicates([one, one[:-1] + "。", one[::-1]]).clusters == ((0, 1),)


def test_lone_surrogates_are_no_crash() -> None:
    assert near_duplicates([text(1) + " \ud800", text(1) + " \ud800", text(2)]).clusters == ((0, 1),)


def test_a_chain_of_edits_is_one_cluster() -> None:
    chain = [words(1, 100)]
    for step in range(8):
        changed = list(chain[-1])
        changed[step * 12] = f"edit{step}"
        chain.append(changed)
    rows = [" ".join(one) for one in chain]
    assert true_similarity(rows[0], rows[-1]) < 0.7
    assert near_duplicates(rows).clusters == (tuple(range(9)),)


def test_a_large_bucket_is_one_cluster() -> None:
    rows = [text(1, 60) + f" ending{n}" for n in range(100)]
    assert near_duplicates(rows).clusters == (tuple(range(100)),)


@pytest.mark.parametrize("arguments", [{"threshold": 0.0}, {"threshold": 1.5}, {"min_words": 2}])
def test_impossible_arguments_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be above 0 and at most 1"):
        near_duplicates(["a"], **arguments)  # type: ignore[arg-type]


def test_short_similar_texts_are_reported_with_their_similarity() -> None:
    messages = ["please transfer five dollars", "please transfer nine dollars", "what is the weather", text(1)]
    (pair,) = similar_short_texts(messages, threshold=0.5)
    assert pair[:2] == (0, 1)
    assert 0.5 < pair.similarity < 1
    assert similar_short_texts(["the same text"] * 3) == ()


def test_planted_clusters_never_straddle_a_split() -> None:
    rows = [{"text": f"{text(n // 4)} end{n}", "label": "ab"[n % 2]} for n in range(400)]
    whole = Dataset.from_rows(rows).as_chat(prompt="What is this message about?\n\n{text}", completion="{label}")
    for seed in range(3):
        parts = whole.split(validation=0.1, test=0.1, seed=seed)
        seen = [{row["messages"][0]["content"].rpartition(" ")[0] for row in part or ()} for part in parts]
        assert [len(one) for one in seen] == [80, 10, 10]
        assert len(set.union(*seen)) == 100


@pytest.mark.parametrize("templates", [1, 4])
def test_rows_of_few_templates_can_still_be_split(templates: int) -> None:
    rows = [{"prompt": f"{text(n % templates, 60)} order {n}", "completion": "yes"} for n in range(200)]
    parts = Dataset.from_rows(rows).split(validation=0.1, test=0.1)
    assert [len(part) for part in parts] == [160, 20, 20]


def test_one_template_with_short_messages_makes_no_clusters() -> None:
    task = text(0, 50)
    assert split_clusters([f"{task} {text(n, 6)}" for n in range(1, 300)]) == ()
