"""What a plan says of the tuning: every number of it, what the result is good for, and what can't be combined."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, assert_never, cast

from ftsdk.backends.hosted.launcher import Hardware
from ftsdk.errors import Gap, ModelError
from ftsdk.models import ModelFacts, read_json
from ftsdk.spec import (
    IA3,
    AnyLoRA,
    AnyVirtualTokens,
    DoRA,
    FullFineTune,
    JobSpec,
    LoRA,
    PrefixTuning,
    PromptTuning,
    QLoRA,
)

__all__ = ["TuningPlan", "plan_tuning"]

_MAX_RANK = 2**20
"""The largest rank that an adapter's config may have; a larger one means a damaged file."""
_IA3_LAYERS = ("k_proj", "v_proj", "down_proj")
"""What the paper scales (https://arxiv.org/abs/2205.05638, section 3.3), by the names that Llama gave its layers."""
_STARTS = {
    "pissa": "the largest singular components of the weights",
    "olora": "the first columns of the weights' QR decomposition",
}


class TuningPlan:
    """Collects what is decided about the tuning of a job."""

    def __init__(
        self, spec: JobSpec, facts: ModelFacts, hardware: Hardware, choose: Callable[[str, Any, str], Any]
    ) -> None:
        self.spec, self.facts, self.hardware, self.choose = spec, facts, hardware, choose
        self.gaps: list[Gap] = []
        self.notes: list[str] = []

    def gap(self, field: str, asked: object, offered: tuple[object, ...], reason: str) -> None:
        """Note that something can't be done."""
        self.gaps.append(Gap(field, asked, offered, reason))


def plan_tuning(plan: TuningPlan) -> dict[str, Any]:
    """Return the request's tuning, with every number decided."""
    spec, tuning = plan.spec, plan.spec.tuning
    if tuning.trains_on_answers_alone:
        _check_what_goes_with_it(plan)
    _check_added_tokens(plan)
    match tuning:
        case FullFineTune():
            return {"kind": tuning.kind}
        case LoRA() | QLoRA() | DoRA():
            return _low_rank(plan, tuning)
        case IA3():
            layers = plan.facts.module_dimensions
            missing = [name for name in _IA3_LAYERS if layers and not any(known.endswith(name) for known in layers)]
            if missing:
                plan.gap("tuning", "ia3", ("lora",), f"{plan.facts.name} has no layers named {', '.join(missing)}")
            plan.notes.append(_ONLY_HERE.format("factors of IA3"))
            return {"kind": tuning.kind, "target_modules": list(_IA3_LAYERS)}
        case PromptTuning() | PrefixTuning():
            return _virtual_tokens(plan, tuning, spec)
        case _:
            assert_never(tuning)


_ONLY_HERE = (
    "{} can't be merged into the model, exported to GGUF, or served by vLLM and llama.cpp: evals and Model.generate "
    "run them on this machine, and peft anywhere"
)


def _check_what_goes_with_it(plan: TuningPlan) -> None:
    spec = plan.spec
    kind = spec.tuning.kind
    if spec.method.compares_answers:
        plan.gap("tuning", kind, ("lora", "qlora", "dora", "full"), f"{kind} tuning is offered for SFT")
    if spec.model.adapter is not None:
        plan.gap("tuning", kind, ("lora",), "an adapter that is trained further keeps its kind, which is LoRA")


def _check_added_tokens(plan: TuningPlan) -> None:
    model = plan.spec.model
    if model.add_tokens is None:
        return
    reason = None
    if model.adapter is not None:
        reason = "an adapter that is trained further keeps the tokens that it has; name them with its base"
    elif model.trust_remote_code:
        reason = "the embedding of a model with code of its own isn't resized"
    elif plan.spec.tuning.trains_on_answers_alone:
        reason = f"{plan.spec.tuning.kind} tuning trains no rows of the embedding"
    if reason is not None:
        plan.gap("model.add_tokens", model.add_tokens, (), reason)
        return
    what = "with the rest of the embedding" if not plan.spec.tuning.adapts else "beside the adapter, in 32 bits"
    plan.notes.append(
        f"{len(model.add_tokens)} tokens are added to a copy of the model, which is as large as the model and stays in "
        "ftsdk's home; their rows of the embedding (and of a head of its own) start as the mean of the others, and are "
        f"trained {what}"
    )


def _virtual_tokens(plan: TuningPlan, tuning: AnyVirtualTokens, spec: JobSpec) -> dict[str, Any]:
    if tuning.init_text is None:
        plan.choose("tuning.init_text", "none", "the positions start at random; text is a steadier start")
    noun = "Learned prompts" if isinstance(tuning, PromptTuning) else "Learned prefixes"
    plan.notes.append(_ONLY_HERE.format(noun))
    plan.notes.append(
        f"the {tuning.virtual_tokens} positions stand before every row, which therefore can't share its beginning with "
        "others: rows are padded, and go through TRL's own loss"
    )
    return {
        "kind": spec.tuning.kind,
        "virtual_tokens": tuning.virtual_tokens,
        "init_text": tuning.init_text,
    }


def _low_rank(plan: TuningPlan, tuning: LoRA | QLoRA | DoRA) -> dict[str, Any]:
    spec, choose = plan.spec, plan.choose
    if tuning.quantizes and plan.hardware.device == "mps":
        plan.gap("tuning", tuning.kind, ("lora", "dora", "full"), "bitsandbytes has no kernels for Apple GPUs")
    targets = tuning.target_modules
    request: dict[str, Any] = {
        "kind": tuning.kind,
        "rank": tuning.rank,
        "alpha": tuning.effective_alpha,
        "dropout": tuning.dropout,
        "target_modules": "all-linear" if targets is None else targets if isinstance(targets, str) else sorted(targets),
        "dora": isinstance(tuning, DoRA),
    }
    # Left out unless they are asked for, so that a request of today reads like one of yesterday.
    if tuning.layers is not None:
        request["layers"] = sorted(tuning.layers)
    if tuning.rank_stabilized:
        request["rank_stabilized"] = True
    if isinstance(tuning, LoRA) and tuning.init != "random":
        request["init"] = tuning.init
    if spec.method.compares_answers and "dropout" not in tuning.model_fields_set:
        request["dropout"] = choose(
            "tuning.dropout",
            0.0,
            f"{type(spec.method).__name__} compares probabilities of answers, and dropout would add noise to them; "
            "TRL's default",
        )
    if isinstance(tuning, QLoRA):
        request["double_quantization"] = tuning.double_quantization
    if spec.model.adapter is not None:
        _keep_shape_of_adapter(plan, spec.model.adapter, tuning, request)
        _check_biases_of_adapter(plan, spec.model.adapter)
        return request
    if tuning.alpha is None:
        rule = "2 x rank, the common rule"
        if tuning.rank_stabilized:
            rule = "2 x sqrt(rank): divided by sqrt(rank), it scales the update by 2 as the common rule does"
        choose("tuning.alpha", tuning.effective_alpha, rule)
    if targets is None:
        choose("tuning.target_modules", "all-linear", "every linear layer but the output head, as in QLoRA (section 4)")
    _check_targets(plan, tuning)
    if "init" in request:
        plan.notes.append(
            f"the adapter starts from {_STARTS[request['init']]}, computed once when the training begins; the result "
            f"is a plain LoRA of rank {tuning.held_rank}, half of which takes that start off again"
        )
    return request


def _check_targets(plan: TuningPlan, tuning: AnyLoRA) -> None:
    """Refuse names, blocks and patterns that fit no layer of the model, by the headers of its safetensors files."""
    modules = plan.facts.module_dimensions
    # Experts have other names in files than in transformers; GGUF files and models not yet downloaded have no names.
    if not modules or any("expert" in name for name in modules):
        return
    linear = [name for name, dimensions in modules.items() if dimensions > 1]
    known = tuple(sorted({name.rpartition(".")[2] for name in linear}))
    targets = tuning.target_modules
    if isinstance(targets, str):
        if not any(tuning.targets(name) for name in linear):
            plan.gap(
                "tuning.target_modules",
                targets,
                known,
                f"it matches no layer of {plan.facts.name}, such as {linear[0]}",
            )
        return
    unknown = [
        target
        for target in sorted(targets or ())
        if not any(name == target or name.endswith(f".{target}") for name in linear)
    ]
    if unknown:
        plan.gap(
            "tuning.target_modules", tuple(unknown), known, f"{plan.facts.name} has no layers of these names to adapt"
        )
    blocks = plan.facts.num_hidden_layers
    beyond = [number for number in tuning.layers or () if blocks is not None and number >= blocks]
    if beyond:
        plan.gap(
            "tuning.layers", tuple(beyond), (), f"{plan.facts.name} has {blocks} blocks, 0 to {cast('int', blocks) - 1}"
        )


def _keep_shape_of_adapter(
    plan: TuningPlan, adapter: str, tuning: LoRA | QLoRA | DoRA, request: dict[str, Any]
) -> None:
    """Take rank, alpha and layers from an adapter that is trained further, or refuse a job that sets others."""
    config = read_json(Path(adapter).expanduser() / "adapter_config.json", adapter)
    kind = config.get("peft_type", "LORA")
    if kind != "LORA":
        plan.gap("model.adapter", adapter, (), f"it is of the kind {kind!r:.40}, and only LoRA is trained further")
        return
    if request.pop("init", None) is not None:
        plan.gap("tuning.init", cast("LoRA", tuning).init, ("random",), "an adapter that is trained further has begun")
    # peft's own defaults where the file has no such key.
    rank, alpha, modules = config.get("r", 8), config.get("lora_alpha", 8), config.get("target_modules")
    names: list[object] = cast("list[object]", modules) if isinstance(modules, list) else [modules]
    if (
        type(rank) is not int
        or not 0 < rank < _MAX_RANK
        or type(alpha) not in (int, float)
        or not 0 < alpha < _MAX_RANK
        or not all(isinstance(name, str) for name in names)
        or not names
    ):
        raise ModelError(
            f"adapter_config.json of {adapter} is damaged: r={rank!r:.50}, lora_alpha={alpha!r:.50}, "
            f"target_modules={modules!r:.100}. Copy or download the adapter again."
        )
    shape: dict[str, Any] = {
        "rank": rank,
        "alpha": float(alpha),
        "target_modules": sorted(map(str, names)) if isinstance(modules, list) else modules,
    }
    if tuning.layers is not None or config.get("layers_to_transform") is not None:
        shape["layers"] = config.get("layers_to_transform")
    if tuning.rank_stabilized or config.get("use_rslora"):
        shape["rank_stabilized"] = bool(config.get("use_rslora"))
    if bool(config.get("use_dora")) != request["dora"]:
        kind = "dora" if config.get("use_dora") else "lora"
        plan.gap("tuning", tuning.kind, (kind,), f"the adapter {adapter} is a {kind} adapter")
    for name, is_so in shape.items():
        if name in tuning.model_fields_set and getattr(tuning, name) is not None:
            if request.get(name) != is_so:
                plan.gap(
                    f"tuning.{name}", request.get(name), (is_so,), "an adapter that is trained further keeps its shape"
                )
        elif request.get(name) != is_so:
            plan.choose(f"tuning.{name}", is_so, "the shape of the adapter that is trained further")
        request[name] = is_so


def _check_biases_of_adapter(plan: TuningPlan, adapter: str) -> None:
    """Refuse a reference that would have biases of its own: peft takes one adapter with biases a model."""
    config = read_json(Path(adapter).expanduser() / "adapter_config.json", adapter)
    if plan.spec.method.needs_reference and config.get("bias", "none") != "none":
        plan.gap(
            "method",
            plan.spec.method.kind,
            ("sft",),
            f"the adapter {adapter} has biases of its own, and its reference would be a second one with biases, "
            "which peft can't load",
        )
