"""Generation with the real transformers and PEFT on a tiny model: batches change nothing but the time."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftsdk.errors import DatasetError
from ftsdk.evals import Eval, TransformersGenerator, evaluate, local_targets
from ftsdk.models import load_model, load_tokenizer, model_identity
from ftsdk.models.torch_stack import quiet_transformers
from ftsdk.spec import Model

for _name in ("torch", "transformers", "peft"):
    pytest.importorskip(_name, reason="the extra 'local' isn't installed")

MakeRows = Callable[..., Any]
WORDS = ["money", "weather", "flight", "rome", "topic", "alarm", "city", "account", "people", "today"]


def ask(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


# Lengths from 1 to 11 words, not in order of length.
CONVERSATIONS = [ask(" ".join(WORDS[(n * k) % 10] for k in range(1 + (7 * n) % 11))) for n in range(11)]
WITH_SYSTEM = [
    [{"role": "system", "content": "you sort short messages into a topic and answer with one word"}, *talk]
    for talk in CONVERSATIONS
]


@pytest.fixture(scope="module")
def loaded(tiny_model: Path) -> tuple[Any, Any]:
    model = load_model(Model(id=str(tiny_model)), dtype="float32", device="cpu")
    # Sharper weights than the random ones, so that different prompts get different answers.
    for name, parameter in model.named_parameters():
        if "norm" not in name:
            parameter.data.mul_(8)
    return model, load_tokenizer(Model(id=str(tiny_model)))


def generator(loaded: tuple[Any, Any], **options: Any) -> TransformersGenerator:
    model, tokenizer = loaded
    return TransformersGenerator(model, tokenizer, **{"eos_token_ids": [tokenizer.eos_token_id], **options})


def greedy_tokens(loaded: tuple[Any, Any], conversation: list[dict[str, Any]], max_new_tokens: int) -> list[int]:
    """Answer by the definition of greedy decoding: no batch, no padding, no cache."""
    import torch

    model, tokenizer = loaded
    tokens: list[int] = tokenizer.apply_chat_template(conversation, add_generation_prompt=True, return_dict=True)[
        "input_ids"
    ]
    answer: list[int] = []
    for _ in range(max_new_tokens):
        with torch.inference_mode():
            best = int(model(torch.tensor([tokens + answer])).logits[0, -1].argmax())
        if best == tokenizer.eos_token_id:
            break
        answer.append(best)
    return answer


def one_by_one(loaded: tuple[Any, Any], conversations: list[list[dict[str, Any]]], max_new_tokens: int) -> list[str]:
    return [
        loaded[1].decode(greedy_tokens(loaded, conversation, max_new_tokens), skip_special_tokens=True)
        for conversation in conversations
    ]


@pytest.fixture(scope="module")
def expected(loaded: tuple[Any, Any]) -> dict[bool, list[str]]:
    """What each conversation is answered, without and with a shared beginning."""
    found = {False: one_by_one(loaded, CONVERSATIONS, 4), True: one_by_one(loaded, WITH_SYSTEM, 4)}
    assert all(len(set(answers)) > 3 for answers in found.values()), (
        "the tiny model must answer differently for the tests to say anything"
    )
    return found


@pytest.mark.parametrize(
    ("has_system", "options"),
    [
        (False, {}),
        (False, {"batch_size": 1}),
        (False, {"batch_tokens": 100}),
        (True, {}),
        (True, {"batch_size": 4}),
        (True, {"share_prefix": False}),
    ],
    ids=str,
)
def test_batched_answers_equal_those_generated_one_by_one(
    loaded: tuple[Any, Any], expected: dict[bool, list[str]], has_system: bool, options: dict[str, Any]
) -> None:
    conversations = WITH_SYSTEM if has_system else CONVERSATIONS

    assert generator(loaded, **options).generate(conversations, max_new_tokens=4) == expected[has_system]


def test_a_shared_beginning_is_computed_once(loaded: tuple[Any, Any]) -> None:
    model, _ = loaded
    widths: list[tuple[int, int]] = []
    handle = model.get_input_embeddings().register_forward_pre_hook(
        lambda _, arguments: widths.append(tuple(arguments[0].shape))
    )
    try:
        sharing = generator(loaded, batch_size=6)
        sharing.generate([WITH_SYSTEM[0]], max_new_tokens=1)  # tries once whether the model can be decoded so
        alone = generator(loaded, batch_size=6, share_prefix=False)
        alone.generate([WITH_SYSTEM[0]], max_new_tokens=1)
        widths.clear()
        sharing.generate(WITH_SYSTEM, max_new_tokens=1)
        shared = widths.copy()
        widths.clear()
        alone.generate(WITH_SYSTEM, max_new_tokens=1)
    finally:
        handle.remove()

    # Rows are packed: one sequence holds the tokens of all that are in a batch, without padding.
    assert {rows for rows, _ in [*shared, *widths]} == {1}
    prefix, *batches = [width for _, width in shared]
    assert prefix > 8
    assert [width + rows * prefix for width, rows in zip(batches, (6, 5), strict=True)] == [
        width for _, width in widths
    ]


def test_prompts_that_are_all_the_same_are_answered(loaded: tuple[Any, Any]) -> None:
    assert (
        generator(loaded).generate([CONVERSATIONS[5]] * 3, max_new_tokens=4)
        == one_by_one(loaded, [CONVERSATIONS[5]], 4) * 3
    )


def test_any_of_the_end_tokens_ends_an_answer(loaded: tuple[Any, Any]) -> None:
    _, tokenizer = loaded
    tokens = greedy_tokens(loaded, CONVERSATIONS[3], 6)
    end = next(token for token in tokens[1:] if token != tokens[0])

    found = generator(loaded, eos_token_ids=[tokenizer.eos_token_id, end]).generate(
        [CONVERSATIONS[3]], max_new_tokens=6
    )

    assert found == [tokenizer.decode(tokens[: tokens.index(end)])]


def test_the_model_s_own_sampling_settings_are_set_aside_and_put_back(loaded: tuple[Any, Any]) -> None:
    from transformers import GenerationConfig

    model, _ = loaded
    before = model.generation_config
    sampling = GenerationConfig(do_sample=True, temperature=5.0, top_p=0.9, repetition_penalty=3.0)
    model.generation_config = sampling
    try:
        found = generator(loaded).generate(CONVERSATIONS[:3], max_new_tokens=6)
        assert model.generation_config is sampling
    finally:
        model.generation_config = before

    assert found == one_by_one(loaded, CONVERSATIONS[:3], 6)


def test_progress_ends_at_the_total(loaded: tuple[Any, Any]) -> None:
    seen: list[tuple[int, int]] = []

    generator(loaded, batch_size=8).generate(
        CONVERSATIONS, max_new_tokens=1, on_progress=lambda done, total: seen.append((done, total))
    )

    assert seen == [(done, 11) for done in range(1, 12)]


def test_nothing_asked_is_nothing_answered(loaded: tuple[Any, Any]) -> None:
    assert generator(loaded).generate([], max_new_tokens=4) == []


def test_a_prompt_that_does_not_fit_is_named(loaded: tuple[Any, Any]) -> None:
    with pytest.raises(DatasetError, match=r"row 2.*the model's context is 60"):
        generator(loaded, max_length=60).generate([ask("hi"), ask("money " * 60)], max_new_tokens=4)


def test_tokens_are_counted_without_special_ones(loaded: tuple[Any, Any]) -> None:
    _, tokenizer = loaded
    assert generator(loaded).count_tokens(["money", "weather today"]) == [
        len(tokenizer.encode(text)) for text in ("money", "weather today")
    ]


@pytest.fixture
def adapter(tiny_model: Path, tmp_path: Path) -> Path:
    from peft import LoraConfig, get_peft_model

    base = load_model(Model(id=str(tiny_model)), dtype="float32", device="cpu")
    with quiet_transformers():
        made = get_peft_model(
            base,
            LoraConfig(
                r=4, lora_alpha=400, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM"
            ),
        )
    made.save_pretrained(str(tmp_path / "adapter"))
    return tmp_path / "adapter"


def test_base_and_adapter_share_one_load_and_give_their_own_answers(
    tiny_model: Path, adapter: Path, make_rows: MakeRows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers

    loads: list[weakref.ref[Any]] = []
    real = transformers.AutoModelForCausalLM.from_pretrained

    def counted(*arguments: Any, **options: Any) -> Any:
        model = real(*arguments, **options)
        loads.append(weakref.ref(model))
        return model

    base, tuned = Model(id=str(tiny_model)), Model(id=str(tiny_model), adapter=str(adapter))
    alone = {}
    for name, model in (("base", base), ("tuned", tuned)):
        ours = TransformersGenerator(
            load_model(model, dtype="float32", device="cpu"), load_tokenizer(model), eos_token_ids=[2]
        )
        alone[name] = ours.generate(CONVERSATIONS[:4], max_new_tokens=5)
    assert alone["base"] != alone["tuned"]
    data = make_rows(
        *(
            (conversation[0]["content"], answer)
            for conversation, answer in zip(CONVERSATIONS, alone["tuned"], strict=False)
        )
    )
    item = Eval.exact_match(data, max_new_tokens=5)

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", counted)
    report = evaluate([item], local_targets(base, tuned, device="cpu", dtype="float32"), into=tmp_path / "report")

    assert len(loads) == 1
    assert report.score("exact_match", "tuned").correct == 4
    assert report.score("exact_match", "base").correct == sum(
        a == b for a, b in zip(alone["base"], alone["tuned"], strict=True)
    )
    gc.collect()
    assert loads[0]() is None, "the model is still in memory"

    evaluate([item], local_targets(base, tuned, device="cpu", dtype="float32"), into=tmp_path / "report")
    assert len(loads) == 1


def test_two_whole_models_are_loaded_one_after_the_other(
    tiny_model: Path, make_rows: MakeRows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers

    from ftsdk.testing.tiny import build_tiny_model

    alive_at_load: list[int] = []
    loads: list[weakref.ref[Any]] = []
    real = transformers.AutoModelForCausalLM.from_pretrained

    def counted(*arguments: Any, **options: Any) -> Any:
        alive_at_load.append(sum(ref() is not None for ref in loads))
        model = real(*arguments, **options)
        loads.append(weakref.ref(model))
        return model

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", counted)
    base, tuned = Model(id=str(tiny_model)), Model(id=str(build_tiny_model(tmp_path / "other", seed=1)))
    report = evaluate(
        [Eval.exact_match(make_rows(("money", "x")), max_new_tokens=2)],
        local_targets(base, tuned, device="cpu"),
        into=tmp_path / "report",
    )

    assert alive_at_load == [0, 0]
    assert [score.target for score in report.scores] == ["base", "tuned"]
    assert model_identity(base) != model_identity(tuned)
