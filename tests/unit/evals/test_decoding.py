"""Our own decoding: guesses and shared beginnings change the time, and never what greedy decoding answers."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from ftsdk.errors import SpecError
from ftsdk.evals import Choices, Eval, JsonSchema, TransformersGenerator, constrained, evaluate, local_target
from ftsdk.evals.prefixes import groups_by_prefix
from ftsdk.models import load_model, load_tokenizer
from ftsdk.spec import Model

for _name in ("torch", "transformers", "peft"):
    pytest.importorskip(_name, reason="the extra 'local' isn't installed")

WORDS = ["money", "weather", "flight", "rome", "topic", "alarm", "city", "account", "people", "today"]


def ask(text: str, system: str = "") -> list[dict[str, Any]]:
    before = [{"role": "system", "content": system}] if system else []
    return [*before, {"role": "user", "content": text}]


TALKS = [ask(" ".join(WORDS[(n * k) % 10] for k in range(1 + (7 * n) % 11))) for n in range(11)]


@pytest.fixture(scope="module")
def loaded(tiny_model: Path) -> tuple[Any, Any]:
    model = load_model(Model(id=str(tiny_model)), dtype="float32", device="cpu")
    for name, parameter in model.named_parameters():
        if "norm" not in name:
            parameter.data.mul_(8)  # different prompts get different answers
    return model, load_tokenizer(Model(id=str(tiny_model)))


@pytest.fixture(scope="module")
def generator(loaded: tuple[Any, Any]) -> TransformersGenerator:
    model, tokenizer = loaded
    return TransformersGenerator(model, tokenizer, eos_token_ids=[tokenizer.eos_token_id], batch_size=4)


@pytest.fixture(scope="module")
def plain(loaded: tuple[Any, Any], generator: TransformersGenerator) -> list[str]:
    """What transformers' own generate answers."""
    model, tokenizer = loaded
    theirs = TransformersGenerator(model, tokenizer, eos_token_ids=[tokenizer.eos_token_id])
    theirs._decodes = False  # pyright: ignore[reportPrivateUsage]
    answers = theirs.generate(TALKS, max_new_tokens=9)
    assert generator.generate(TALKS, max_new_tokens=9) == answers
    return answers


def passes(model: Any, call: Any) -> int:
    """Count how often the model is run."""
    count = 0

    def one_more(*_: Any) -> None:
        nonlocal count
        count += 1

    handle = model.base_model.register_forward_pre_hook(one_more)
    try:
        call()
    finally:
        handle.remove()
    return count


@pytest.mark.parametrize("seed", range(6))
def test_no_guess_changes_an_answer(generator: TransformersGenerator, plain: list[str], seed: int) -> None:
    draw = random.Random(seed)
    guesses = [
        draw.choice([answer, "", answer[: draw.randrange(1 + len(answer))], f"{answer} {draw.choice(WORDS)}", "rome"])
        for answer in plain
    ]
    assert generator.guessing(guesses).generate(TALKS, max_new_tokens=9) == plain
    limit = draw.randrange(1, 9)
    assert generator.guessing(plain).generate(TALKS, max_new_tokens=limit) == generator.generate(
        TALKS, max_new_tokens=limit
    )


def test_right_guesses_take_one_pass(loaded: tuple[Any, Any], plain: list[str]) -> None:
    model, tokenizer = loaded
    fast = TransformersGenerator(model, tokenizer, eos_token_ids=[tokenizer.eos_token_id], share_prefix=False)
    fast.generate(TALKS[:1], max_new_tokens=1)
    saved: list[int] = []
    for talk, answer in zip(TALKS, plain, strict=True):
        slow = passes(model, lambda talk=talk: fast.generate([talk], max_new_tokens=9))
        quick = passes(
            model, lambda talk=talk, answer=answer: fast.guessing([answer]).generate([talk], max_new_tokens=9)
        )
        assert quick <= slow
        saved.append(slow - quick)
    # A text may have several spellings in tokens, and the guess is one of them.
    assert max(saved) >= 7


def test_rows_are_grouped_by_what_they_begin_with() -> None:
    first, second = list(range(100, 140)), list(range(200, 230))
    prompts = {n: [1, 2, *(first if n % 2 else second), 1000 + n] for n in range(10)}
    groups = list(groups_by_prefix(prompts))
    assert sorted((sorted(rows), shared) for rows, shared in groups) == [
        ([0, 2, 4, 6, 8], 32),
        ([1, 3, 5, 7, 9], 42),
    ]
    assert list(groups_by_prefix({3: [1, 2, 3]})) == [([3], 0)]
    assert [shared for _, shared in groups_by_prefix({n: [1] * 20 for n in range(3)})] == [19]


def test_two_system_messages_in_one_eval_are_answered_as_one_by_one(generator: TransformersGenerator) -> None:
    talks = [ask(" ".join(WORDS[n % 7 :][: 1 + n % 3]), system=" ".join([WORDS[n % 2], *WORDS] * 2)) for n in range(12)]
    assert generator.generate(talks, max_new_tokens=6) == [
        generator.generate([talk], max_new_tokens=6)[0] for talk in talks
    ]


def test_likelihoods_are_those_of_one_full_pass(loaded: tuple[Any, Any], generator: TransformersGenerator) -> None:
    import torch

    model, tokenizer = loaded
    answers = [WORDS[n % 10] for n in range(len(TALKS))]
    found = dict(generator.likelihoods(TALKS, answers))
    for n, (talk, answer) in enumerate(zip(TALKS, answers, strict=True)):
        prompt = tokenizer.apply_chat_template(talk, add_generation_prompt=True, return_dict=True)["input_ids"]
        whole = tokenizer.apply_chat_template([*talk, {"role": "assistant", "content": answer}], return_dict=True)
        tokens = list(whole["input_ids"])
        last = max(place for place, token in enumerate(tokens) if token == tokenizer.eos_token_id)
        tokens = tokens[: last + 1]
        with torch.inference_mode():
            scores = model(torch.tensor([tokens])).logits[0].log_softmax(dim=-1)
        expected = sum(float(scores[place - 1, tokens[place]]) for place in range(len(prompt), len(tokens)))
        assert found[n].log_probability == pytest.approx(expected, rel=1e-5)
        assert found[n].tokens == len(tokens) - len(prompt)


def test_choices_are_answered_in_one_pass_where_their_first_tokens_differ(
    loaded: tuple[Any, Any], generator: TransformersGenerator
) -> None:
    choices = ("weather", "money", "flight")
    held = generator.constrained(Choices(choices))
    answers = held.generate(TALKS[:4], max_new_tokens=9)
    assert set(answers) <= set(choices)
    generator.generate(TALKS[:1], max_new_tokens=1)
    firsts = {ids[0] for ids in loaded[1](list(choices), add_special_tokens=False)["input_ids"]}
    if len(firsts) == len(choices):
        assert passes(loaded[0], lambda: held.generate(TALKS[:4], max_new_tokens=9)) <= 2  # and the shared beginning


@pytest.mark.parametrize("choices", [("rome", "rome today"), ("a", "ab", "abc", "b"), ("city", "city ", "City")])
def test_choices_that_begin_alike_are_told_apart(generator: TransformersGenerator, choices: tuple[str, ...]) -> None:
    assert set(generator.constrained(Choices(choices)).generate(TALKS, max_new_tokens=12)) <= set(choices)


def test_the_likeliest_choice_is_taken(loaded: tuple[Any, Any], generator: TransformersGenerator) -> None:
    import torch

    model, tokenizer = loaded
    tokens = {
        word: ids[0] for word, ids in zip(WORDS, tokenizer(WORDS, add_special_tokens=False)["input_ids"], strict=True)
    }
    words = [word for word in WORDS if list(tokens.values()).count(tokens[word]) == 1]
    held = generator.constrained(Choices(tuple(words)))
    for talk, answer in zip(TALKS, held.generate(TALKS, max_new_tokens=9), strict=True):
        ids = tokenizer.apply_chat_template(talk, add_generation_prompt=True, return_dict=True)["input_ids"]
        with torch.inference_mode():
            scores = model(torch.tensor([list(ids)])).logits[0, -1]
        assert answer == max(words, key=lambda word: float(scores[tokens[word]]))


def test_answers_keep_to_a_schema(generator: TransformersGenerator) -> None:
    pytest.importorskip("llguidance", reason="the extra 'evals' isn't installed")
    schema = {
        "type": "object",
        "properties": {"city": {"enum": ["rome", "paris"]}, "people": {"type": "integer", "minimum": 1, "maximum": 9}},
        "required": ["city", "people"],
        "additionalProperties": False,
    }
    for answer in generator.constrained(JsonSchema(schema)).generate(TALKS, max_new_tokens=80):
        found = json.loads(answer)
        assert found["city"] in ("rome", "paris")
        assert 1 <= found["people"] <= 9


@pytest.mark.parametrize("schema", [{"type": "nonsense"}, {"$ref": "https://example.com/other.json"}])
def test_a_schema_that_cannot_be_kept_is_refused_before_anything_is_generated(
    generator: TransformersGenerator, schema: dict[str, Any]
) -> None:
    pytest.importorskip("llguidance", reason="the extra 'evals' isn't installed")
    with pytest.raises(SpecError, match="can't be held to this JSON Schema"):
        generator.constrained(JsonSchema(schema))


def test_out_of_memory_halves_the_batch(
    loaded: tuple[Any, Any], plain: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    model, tokenizer = loaded
    forward = model.base_model.forward

    def narrow(*arguments: Any, **options: Any) -> Any:
        if options["input_ids"].shape[0] > 3:
            raise torch.OutOfMemoryError("too many rows")
        return forward(*arguments, **options)

    monkeypatch.setattr(model.base_model, "forward", narrow)
    found = TransformersGenerator(model, tokenizer, eos_token_ids=[tokenizer.eos_token_id])
    found._decodes = True  # pyright: ignore[reportPrivateUsage]
    assert found.generate(TALKS, max_new_tokens=9) == plain


def test_a_constrained_target_is_measured_beside_the_free_one(tiny_model: Path, tmp_path: Path) -> None:
    from ftsdk import Dataset

    rows = [{"prompt": f"{word} today", "completion": WORDS[n % 2]} for n, word in enumerate(WORDS)]
    item = Eval.of(Dataset.from_rows(rows), "choice", name="topic", metric=["accuracy", "macro_f1"])
    free = local_target("base", Model(id=str(tiny_model)), device="cpu")
    held = constrained(free, choices=WORDS[:2])
    report = evaluate([item], [free, held], into=tmp_path)
    assert {score.target for score in report.scores} == {"base", "base+choices"}
    answers = {
        json.loads(line)["output"] for line in (tmp_path / "topic" / "base+choices.jsonl").read_text().splitlines()
    }
    assert answers <= set(WORDS[:2])
