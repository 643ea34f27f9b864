"""`Model.generate`: text in, text out, as evals have it, and a model that stays loaded."""

from __future__ import annotations

import gc
import json
import pickle
import shutil
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ftsdk import DatasetError, MissingExtraError, Model, ModelError, SpecError
from ftsdk.evals import keep_loaded, local_target
from ftsdk.evals.loaded_models import LOADED

for _name in ("torch", "transformers", "peft"):
    pytest.importorskip(_name, reason="the extra 'local' isn't installed")

QUESTIONS = ["rome", "book a flight", "the weather in the city", "money", "what is the topic today"]


@pytest.fixture(scope="module")
def sharp(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with larger weights, so that different prompts get different answers."""
    from safetensors.torch import load_file, save_file

    folder = tmp_path_factory.mktemp("sharp") / "model"
    shutil.copytree(tiny_model, folder)
    weights = load_file(folder / "model.safetensors")
    larger = {name: weight if "norm" in name else weight * 8 for name, weight in weights.items()}
    save_file(larger, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture
def model(sharp: Path) -> Iterator[Model]:
    yield Model(id=str(sharp))
    keep_loaded(0)
    keep_loaded(1)


@pytest.fixture
def adapter(sharp: Path, tmp_path: Path) -> Path:
    return make_adapter(sharp, tmp_path / "adapter", seed=0)


def make_adapter(base: Path, folder: Path, *, seed: int) -> Path:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    loaded: Any = AutoModelForCausalLM.from_pretrained(base)
    made: Any = get_peft_model(loaded, LoraConfig(target_modules=["q_proj"], init_lora_weights=False))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for name, parameter in made.named_parameters():
            if "lora_" in name:
                parameter.data.normal_()
    made.save_pretrained(str(folder))
    return folder


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def test_what_goes_in_as_a_list_comes_out_as_a_list_in_order(model: Model) -> None:
    one_by_one = [model.generate(question, max_new_tokens=12) for question in QUESTIONS]
    assert len(set(one_by_one)) == len(QUESTIONS)
    assert model.generate(QUESTIONS, max_new_tokens=12) == one_by_one
    assert model.generate([user(question) for question in QUESTIONS], max_new_tokens=12) == one_by_one
    assert model.generate(user(QUESTIONS[0]), max_new_tokens=12) == one_by_one[0]
    assert model.generate((QUESTIONS[0], user(QUESTIONS[1])), max_new_tokens=12) == one_by_one[:2]
    assert model.generate([QUESTIONS[0]], max_new_tokens=12) == one_by_one[:1]


def test_answers_are_those_of_evals(model: Model) -> None:
    system = [{"role": "system", "content": "you sort short messages"}]
    with local_target("tuned", model).open() as generator:
        expected = generator.generate([[*system, *user(question)] for question in QUESTIONS], max_new_tokens=12)
    assert model.generate(QUESTIONS, system="you sort short messages", max_new_tokens=12) == expected
    other = [[{"role": "system", "content": "replaced"}, *user(question)] for question in QUESTIONS]
    assert model.generate(other, system="you sort short messages", max_new_tokens=12) == expected
    assert model.generate(other, max_new_tokens=12) != expected


def test_a_model_is_loaded_once_and_stays_a_value(model: Model) -> None:
    before, text = LOADED.loads, model.generate("rome", max_new_tokens=4)
    assert Model(id=model.id).generate("rome", max_new_tokens=4) == text
    assert LOADED.loads == before + 1
    assert pickle.loads(pickle.dumps(model)) == model
    assert hash(model) == hash(Model(id=model.id))
    assert model.generate([]) == []


def test_an_empty_list_loads_nothing() -> None:
    assert Model(id="./nowhere").generate([]) == []


def test_another_model_takes_the_place_unless_two_are_kept(model: Model, tiny_model: Path) -> None:
    other, before = Model(id=str(tiny_model)), LOADED.loads
    for one in (model, other, model):
        one.generate("rome", max_new_tokens=2)
    assert LOADED.loads == before + 3
    keep_loaded(2)
    for one in (other, model, other):
        one.generate("rome", max_new_tokens=2)
    assert LOADED.loads == before + 4


def test_unloading_frees_the_weights(model: Model) -> None:
    model.unload()
    model.generate("rome", max_new_tokens=2)
    with LOADED.use(model) as generator:
        weights = weakref.ref(next(generator._model.parameters()))
    del generator
    model.unload()
    gc.collect()
    assert weights() is None
    before = LOADED.loads
    model.generate("rome", max_new_tokens=2)
    assert LOADED.loads == before + 1


def test_an_adapter_that_was_trained_again_is_loaded_again(model: Model, sharp: Path, adapter: Path) -> None:
    tuned = model.replace(adapter=str(adapter))
    first = tuned.generate(QUESTIONS, max_new_tokens=12)
    assert first != model.generate(QUESTIONS, max_new_tokens=12)
    assert tuned.generate(QUESTIONS, max_new_tokens=12) == first
    make_adapter(sharp, adapter, seed=1)
    assert tuned.generate(QUESTIONS, max_new_tokens=12) != first


def test_a_folder_that_is_gone_is_no_longer_used(sharp: Path, tmp_path: Path) -> None:
    copy = Model(id=str(shutil.copytree(sharp, tmp_path / "copy")))
    copy.generate("rome", max_new_tokens=2)
    shutil.rmtree(copy.id)
    with pytest.raises(ModelError, match="there is no folder"):
        copy.generate("rome", max_new_tokens=2)


def test_threads_take_turns(model: Model) -> None:
    expected, before = model.generate(QUESTIONS, max_new_tokens=8), LOADED.loads
    found: dict[int, str] = {}

    def ask(number: int) -> None:
        found[number] = model.generate(QUESTIONS[number], max_new_tokens=8)

    threads = [threading.Thread(target=ask, args=[number]) for number in range(len(QUESTIONS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[number] for number in range(len(QUESTIONS))] == expected
    assert LOADED.loads == before


def test_what_does_not_fit_into_the_context_is_refused_in_words(model: Model) -> None:
    with pytest.raises(DatasetError, match=r"the prompt has [\d,]+ tokens .* context has 512 .*; shorten it"):
        model.generate("rome " * 600)
    with pytest.raises(DatasetError, match="prompt 2 of 2 has"):
        model.generate(["rome", "rome " * 600])
    with pytest.raises(DatasetError, match="lower max_new_tokens"):
        model.generate("rome", max_new_tokens=510)


def test_an_answer_may_take_what_the_context_has_left(model: Model, caplog: pytest.LogCaptureFixture) -> None:
    long = "rome " * 480
    short, cut = model.generate(["rome", long])
    assert short == model.generate("rome")
    assert cut == model.generate(long)
    assert any("cut off" in record.message for record in caplog.records)


def test_an_answer_keeps_to_choices_and_to_a_schema(model: Model) -> None:
    assert model.generate("rome", choices=["travel", "banking"]) in ("travel", "banking")
    pytest.importorskip("llguidance", reason="the extra 'evals' isn't installed")
    schema = {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}},
        "required": ["ok"],
        "additionalProperties": False,
    }
    answers = model.generate(["rome", "money"], schema=schema)
    assert all(answer.replace(" ", "") in ('{"ok":true}', '{"ok":false}') for answer in answers)
    with pytest.raises(SpecError, match="cut off before it was JSON"):
        model.generate("rome", schema=schema, max_new_tokens=2)


def test_a_model_that_cannot_be_steered_refuses_a_constraint(sharp: Path, tmp_path: Path) -> None:
    capped = shutil.copytree(sharp, tmp_path / "capped")
    config = json.loads((capped / "config.json").read_text())
    (capped / "config.json").write_text(json.dumps({**config, "final_logit_softcapping": 30.0}))
    model = Model(id=str(capped))
    assert model.generate("rome", max_new_tokens=2) == Model(id=str(sharp)).generate("rome", max_new_tokens=2)
    with pytest.raises(SpecError, match="token by token"):
        model.generate("rome", choices=["yes", "no"])


@pytest.mark.parametrize(
    ("prompt", "options", "match"),
    [
        (5, {}, "is of type int; pass a text"),
        (b"rome", {}, "is of type bytes"),
        ([5], {}, "prompt 1 is of type int"),
        ({"role": "user", "content": "a"}, {}, "as a list"),
        ([{"role": "usr", "content": "a"}], {}, "did you mean 'user'"),
        ([{"role": "user"}], {}, "has no content"),
        (["a", [{"content": "a"}]], {}, "row 2.* has no role"),
        ([{"role": "system", "content": "a"}], {}, "nothing to answer"),
        ([*user("a"), {"role": "assistant", "content": "b"}], {}, "Leave the last message out"),
        ("half \ud83d", {}, "surrogate"),
        ("a", {"system": 5}, "system must be text"),
        ("a", {"max_new_tokens": 0}, "max_new_tokens"),
        ("a", {"max_new_tokens": True}, "max_new_tokens"),
        ("a", {"choices": "ab"}, "must be a list of texts"),
        ("a", {"choices": ["a"]}, "at least two"),
        ("a", {"choices": ["a", "b"], "schema": {}}, "either choices"),
        ("a", {"schema": "{}"}, "as a dict"),
    ],
)
def test_what_is_no_prompt_is_refused_before_anything_is_loaded(prompt: Any, options: Any, match: str) -> None:
    with pytest.raises((SpecError, DatasetError), match=match):
        Model(id="./nowhere").generate(prompt, **options)


def test_a_template_that_refuses_roles_is_an_error_of_ours(model: Model) -> None:
    picky = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}{{ messages[0].content }}"
    )
    with pytest.raises(ModelError, match="refuses a conversation: no system"):
        model.replace(chat_template=picky).generate("rome", system="be kind")


def test_a_missing_extra_is_named_before_a_download(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r'pip install "ftsdk\[local\]"'):
        Model(id="org/not-downloaded").generate("rome")


def test_a_process_ends_quietly_with_a_model_loaded(sharp: Path) -> None:
    code = f"from ftsdk import Model; Model(id={str(sharp)!r}).generate('rome', max_new_tokens=1)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
