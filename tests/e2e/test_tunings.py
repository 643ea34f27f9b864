"""Every tuning beside LoRA, DoRA and full fine-tuning, through the real worker, on a tiny model."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftsdk import IA3, SFT, Dataset, FineTuneJob, LoRA, Model, PrefixTuning, PromptTuning, Run
from ftsdk.protocol import CheckpointEvent, StepEvent
from ftsdk.runfolder import lock

pytestmark = pytest.mark.e2e
MakeJob = Callable[..., FineTuneJob]
TEXT = "sort short messages into a topic"


def slow(value: Any, **fields: Any) -> Any:
    return pytest.param(value, fields, marks=pytest.mark.slow, id=name_of(value, fields))


def quick(value: Any, **fields: Any) -> Any:
    return pytest.param(value, fields, id=name_of(value, fields))


def name_of(tuning: Any, fields: dict[str, Any]) -> str:
    return " ".join(
        [tuning.kind, *(f"{name}={getattr(tuning, name)}" for name in sorted(tuning.model_fields_set)), *fields]
    )


TUNINGS = [
    quick(LoRA(rank=4, init="pissa"), weight_decay=0.1, learning_rate=5e-3),
    quick(PromptTuning(virtual_tokens=4, init_text=TEXT), learning_rate=0.3),
    quick(PrefixTuning(virtual_tokens=4, init_text=TEXT), learning_rate=0.3),
    quick(IA3(), learning_rate=0.1),
    slow(LoRA(rank=4, init="olora"), learning_rate=5e-3),
    slow(LoRA(rank=4, init="pissa", rank_stabilized=True), learning_rate=5e-3),
    slow(LoRA(rank=4, rank_stabilized=True), learning_rate=5e-3),
    slow(LoRA(rank=4, layers=(1,)), learning_rate=1e-2),
    slow(LoRA(rank=4, target_modules=r".*\.(q|v)_proj"), learning_rate=2e-2),
    # With dropout beside the noise, weights differed after a kill (2026-11-28, once); why isn't known yet.
    slow(LoRA(rank=4, dropout=0), method=SFT(neftune_alpha=5.0), learning_rate=5e-3),
    slow(LoRA(rank=8), optimizer="adamw_8bit", learning_rate=5e-3),
]


def losses(run: Run) -> list[float]:
    return [event.loss for event in run.events() if isinstance(event, StepEvent) and event.loss is not None]


def kill_after(run: Run, home: Path, step: int) -> None:
    """Kill the worker once it has saved a checkpoint of a step."""
    folder = home / "runs" / run.ref.partition(":")[2]
    while not run.status().is_terminal:
        if any(isinstance(event, CheckpointEvent) and event.step >= step for event in run.events()):
            break
        time.sleep(0.002)
    holder = lock.holder_of(folder)
    if holder is not None:
        os.killpg(holder[1], signal.SIGKILL)
    while lock.is_held(folder):
        time.sleep(0.005)


@pytest.mark.parametrize(("tuning", "fields"), TUNINGS)
def test_it_learns_survives_a_kill_and_opens_in_peft_from_another_folder(
    make_job: MakeJob,
    ftsdk_home: Path,
    tiny_model: Path,
    tmp_path: Path,
    difference: Callable[[Path, Path], float],
    tuning: Any,
    fields: dict[str, Any],
) -> None:
    whole = make_job(tuning=tuning, **fields).submit().wait(progress=False, poll_s=0.05)
    seen = losses(whole)
    assert len(seen) == 12
    # Batches differ, so that single steps may rise.
    assert sum(seen[8:]) < sum(seen[:4])

    broken = make_job(tuning=tuning, **fields).submit()
    kill_after(broken, ftsdk_home, 6)
    if not broken.status().is_terminal:
        broken.resume()
    broken.wait(progress=False, poll_s=0.05)
    assert difference(broken.collect().path, whole.collect().path) <= 1e-6

    check_plain_peft(whole, tiny_model, tmp_path)


def check_plain_peft(run: Run, base: Path, elsewhere: Path) -> None:
    """The adapter, moved away, on a base that plain transformers loads, gives what ours gives."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from ftsdk.models import load_model

    moved = shutil.copytree(run.collect().path, elsewhere / "moved")
    plain: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    ids = torch.tensor([[5, 6, 7, 8, 9, 10]])
    untuned = plain(input_ids=ids).logits.detach()
    theirs = PeftModel.from_pretrained(plain, moved).eval()(input_ids=ids, use_cache=False).logits[:, -6:]
    ours = load_model(run.model(), dtype="float32", device="cpu")(input_ids=ids, use_cache=False).logits[:, -6:]
    assert float((ours - theirs).detach().abs().max()) <= 1e-6
    assert float((ours - untuned).detach().abs().max()) > 1e-3


@pytest.mark.parametrize("kind", ["PromptTuningConfig", "PrefixTuningConfig"])
def test_evals_answer_with_what_stands_before_the_rows(tiny_model: Path, tmp_path: Path, kind: str) -> None:
    import peft
    import torch
    from transformers import AutoModelForCausalLM

    from ftsdk.models import load_model, load_tokenizer

    torch.manual_seed(3)
    base: Any = AutoModelForCausalLM.from_pretrained(tiny_model)
    made: Any = peft.get_peft_model(base, getattr(peft, kind)(task_type="CAUSAL_LM", num_virtual_tokens=4))
    with torch.no_grad():
        made.prompt_encoder["default"].embedding.weight.mul_(4.0)
    made.save_pretrained(tmp_path / "adapter")
    tuned = Model(id=str(tiny_model), adapter=str(tmp_path / "adapter"))
    prompts = ["message 1 is about work and no more", "message 12 is about weather and no more", "so"]
    answers = tuned.generate(prompts, max_new_tokens=6)
    tuned.unload()
    model, tokenizer = load_model(tuned, dtype="float32", device="cpu"), load_tokenizer(tuned)
    for prompt, answer in zip(prompts, answers, strict=True):
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], add_generation_prompt=True, tokenize=False
        )
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids
        start = ids.shape[1]
        with torch.no_grad():
            for _ in range(6):
                following = model(input_ids=ids, use_cache=False).logits[:, -1:].argmax(dim=-1)
                if int(following) == tokenizer.eos_token_id:
                    break
                ids = torch.cat([ids, following], dim=1)
        assert answer == tokenizer.decode(ids[0, start:], skip_special_tokens=True)
    likely, untuned = (likelihood(one, prompts[0]) for one in (tuned, tuned.replace(adapter=None)))
    assert abs(likely - untuned) > 1e-4


def likelihood(model: Model, prompt: str) -> float:
    from ftsdk.evals.local import local_target

    with local_target("one", model, dtype="float32", device="cpu").open() as generator:
        ((_, found),) = generator.likelihoods([[{"role": "user", "content": prompt}]], ["work"])
    return found.log_probability


def test_added_tokens_are_learned_saved_merged_and_read_again(
    make_job: MakeJob, tiny_model: Path, tmp_path: Path
) -> None:
    import torch
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from ftsdk.models import load_model, load_tokenizer

    rows = [{"text": f"message {n} <order>", "label": ("<yes>", "<no>")[n % 2]} for n in range(32)]
    train = Dataset.from_rows(rows).as_chat(prompt="{text}", completion="{label}")
    model = Model(id=str(tiny_model), add_tokens=("<order>", "<yes>", "<no>"))
    run = make_job(model=model, train=train, tuning=LoRA(rank=4, dropout=0), learning_rate=2e-2).submit()
    tuned = run.wait(progress=False, poll_s=0.05).model()
    assert losses(run)[-1] < losses(run)[0]
    tokenizer = load_tokenizer(tuned)
    ids = tokenizer.convert_tokens_to_ids(["<order>", "<yes>", "<no>"])
    assert len(set(ids)) == 3
    loaded = load_model(tuned, dtype="float32", device="cpu")
    inputs = tokenizer("message 3 <order>", return_tensors="pt").input_ids
    assert ids[0] in inputs[0]
    wanted = loaded(input_ids=inputs).logits.detach()

    theirs: Any = AutoPeftModelForCausalLM.from_pretrained(shutil.copytree(run.collect().path, tmp_path / "moved"))
    rows_of = theirs.get_base_model().get_input_embeddings()(torch.tensor(ids))
    assert float((theirs(input_ids=inputs).logits - wanted).detach().abs().max()) <= 1e-5
    untrained = load_model(tuned.replace(adapter=None), dtype="float32", device="cpu").get_input_embeddings()
    assert float((rows_of - untrained(torch.tensor(ids))).detach().abs().min(dim=0).values.max()) > 1e-3

    report = tuned.export(tmp_path / "merged", to="merged", quantization="f32", prove=False)
    merged: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)
    assert report.state != "failed"
    assert float((merged(input_ids=inputs).logits - wanted).detach().abs().max()) <= 1e-4
    assert AutoTokenizer.from_pretrained(tmp_path / "merged").convert_tokens_to_ids("<yes>") == ids[1]
