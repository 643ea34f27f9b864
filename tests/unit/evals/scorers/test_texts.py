"""ROUGE, BLEU, chrF and loss against the libraries that define them."""

from __future__ import annotations

import math
import random

import pytest
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from ftsdk.errors import SpecError
from ftsdk.evals import Example, Likelihood, Score
from ftsdk.evals.metrics.corpus_bleu import corpus_bleu
from ftsdk.evals.metrics.corpus_chrf import corpus_chrf
from ftsdk.evals.metrics.perplexity import perplexity
from ftsdk.evals.scorers.bleu import bleu
from ftsdk.evals.scorers.chrf import chrf
from ftsdk.evals.scorers.loss import loss
from ftsdk.evals.scorers.rouge import rouge


def texts(count: int = 60) -> tuple[list[str], list[str]]:
    chance = random.Random(3)
    words = ["the", "a", "cat", "dog", "sat", "on", "mat", "runs", "fast", "blue,", "sky.", "Hello!"]
    references = [" ".join(chance.choices(words, k=chance.randint(1, 12))) for _ in range(count)]
    answers = [
        " ".join(word if chance.random() < 0.7 else chance.choice(words) for word in one.split()) for one in references
    ]
    return ["", *answers[1:-1], "你好 " + answers[-1]], references


@pytest.mark.parametrize("count", [1, 2, 5, 60])
def test_corpus_metrics_agree_with_sacrebleu(count: int) -> None:
    answers, references = (one[:count] for one in texts())
    pairs = list(zip(answers, references, strict=True))

    assert corpus_bleu([bleu(Example([], one), answer) for answer, one in pairs]) * 100 == pytest.approx(
        BLEU().corpus_score(answers, [references]).score, abs=1e-9
    )
    assert corpus_chrf([chrf(Example([], one), answer) for answer, one in pairs]) * 100 == pytest.approx(
        CHRF().corpus_score(answers, [references]).score, abs=1e-9
    )


def test_scores_of_single_answers_agree_with_the_libraries() -> None:
    by_rouge = RougeScorer(["rougeL", "rouge2"])
    for answer, reference in zip(*texts(), strict=True):
        example = Example([], reference)
        assert chrf(example, answer).value * 100 == pytest.approx(CHRF().sentence_score(answer, [reference]).score)
        sentence = BLEU(effective_order=True).sentence_score(answer, [reference])
        assert bleu(example, answer).value * 100 == pytest.approx(sentence.score)
        if answer.isascii():
            found = by_rouge.score(reference, answer)
            assert rouge(example, answer).value == pytest.approx(found["rougeL"].fmeasure)
            assert rouge.with_options(variant="rouge2")(example, answer).value == pytest.approx(
                found["rouge2"].fmeasure
            )


@pytest.mark.parametrize("word_order", [1, 2])
def test_chrf_with_words_agrees_with_sacrebleu(word_order: int) -> None:
    answers, references = texts()
    answers[5], references[5] = "(hi), 'tis a test!", "(hi) 'tis; a  Test !"
    with_words, theirs = chrf.with_options(word_order=word_order), CHRF(word_order=word_order)
    scores = [with_words(Example([], one), answer) for answer, one in zip(answers, references, strict=True)]

    for score, answer, reference in zip(scores, answers, references, strict=True):
        assert score.value * 100 == pytest.approx(theirs.sentence_score(answer, [reference]).score, abs=1e-9)
    assert corpus_chrf(scores) * 100 == pytest.approx(theirs.corpus_score(answers, [references]).score, abs=1e-9)
    low, high, _ = corpus_chrf.interval(scores, is_bounded=True)
    assert low < corpus_chrf(scores) < high
    assert corpus_chrf.difference(scores, scores, is_bounded=True)[:2] == (0.0, 0.0)
    with pytest.raises(SpecError):
        chrf.with_options(word_order=3)


def test_rouge_reads_words_of_all_scripts() -> None:
    assert rouge(Example([], "привет мир"), "Привет, мир!").value == 1.0
    assert rouge(Example([], "你好"), "你们").value == 0.5
    stemmed = rouge.with_options(stemmer=True, variant="rouge1")
    assert stemmed(Example([], "running dogs"), "runs dog").value > rouge(Example([], "running dogs"), "runs dog").value


@pytest.mark.parametrize("answer", ["", "\x00", "\ud800\ud801", "🙂", "a" * 100_000, "a " * 100_000])
def test_hostile_answers_have_a_score(answer: str) -> None:
    for one in (rouge, bleu, chrf):
        assert 0 <= one(Example([], "a cat sat on the mat"), answer).value < 0.5


def test_intervals_hold_the_value_and_a_difference_of_zero() -> None:
    answers, references = texts()
    scores = [bleu(Example([], one), answer) for answer, one in zip(answers, references, strict=True)]

    low, high, method = corpus_bleu.interval(scores, is_bounded=True)
    assert method == "bootstrap"
    assert low < corpus_bleu(scores) < high
    assert corpus_bleu.difference(scores, scores, is_bounded=True)[:2] == (0.0, 0.0)
    groups = [index // 10 for index in range(len(scores))]
    assert corpus_bleu.interval(scores, is_bounded=True, groups=groups).low > 0


def test_perplexity_counts_tokens_and_not_examples() -> None:
    found = [Likelihood(log_probability=-2.0, tokens=1), Likelihood(log_probability=-3.0, tokens=9)]
    scores = [loss(Example([], "a"), one.to_json()) for one in found]

    assert [score.value for score in scores] == [2.0, pytest.approx(1 / 3)]
    assert perplexity(scores) == pytest.approx(math.exp(5 / 10))
    assert (perplexity.is_bounded, perplexity.is_lower_better, loss.reads) == (False, True, "likelihood")
    low, high, _ = perplexity.interval(scores * 20, is_bounded=False)
    assert low < perplexity(scores) < high
    assert perplexity.interval(scores[:1], is_bounded=False)[:2] == (-math.inf, math.inf)


def test_impossible_texts_have_a_finite_perplexity() -> None:
    assert math.isfinite(perplexity([loss(Example([], "a"), Likelihood(log_probability=-1e9, tokens=1).to_json())]))


def test_a_metric_without_its_parts_names_the_scorer() -> None:
    with pytest.raises(SpecError, match=r"'corpus_bleu' sums up the part 'correct_1' .*the scorer 'bleu'"):
        corpus_bleu([Score(1.0, "")])
