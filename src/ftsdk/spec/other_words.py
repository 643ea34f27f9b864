"""What other tools call things, and what to write here: the hints of error messages, as data.

Words of transformers, TRL, peft, Axolotl, Unsloth, torchtune, Together and OpenAI, as in docs/explanation/glossary.md.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["INSTEAD_OF_CLASS", "INSTEAD_OF_VALUE", "INSTEAD_OF_WORD"]

_BATCH = "batch_size, the sequences per optimizer step over all devices and accumulation steps"
_TUNING = "tuning=LoRA(...) or {kind: lora, ...} in a file; "
_SFT = "method=SFT(train_on=...): 'completion', 'assistant' or 'all'"
_WARMUP = "warmup_ratio, the share of the steps in warmup"
_GPU = "an option of the backend: backend=Modal(gpu='H100')"
_DPO = "method=DPO(beta=...), as with KTO, ORPO and SimPO"
_VALIDATION = "validation=, a Dataset; Dataset.split(validation=0.1) makes one"
_CHECKPOINTS = "checkpoint_steps, the optimizer steps between two checkpoints"

INSTEAD_OF_WORD: Mapping[str, str] = {
    # The model and the data
    **dict.fromkeys(("base_model", "model_id", "model_name", "model_name_or_path", "pretrained_model"), "model"),
    **dict.fromkeys(
        ("data", "dataset", "datasets", "train_data", "train_dataset", "training_file"), "train, a Dataset"
    ),
    **dict.fromkeys(("eval_dataset", "eval_data", "validation_data", "validation_file", "val_set_size"), _VALIDATION),
    "test": "evals=[Eval.exact_match(test)]",
    "eval": "evals=[...], a list",
    # Hyperparameters
    **dict.fromkeys(("num_train_epochs", "n_epochs", "num_epochs"), "epochs"),
    **dict.fromkeys(("lr", "learning_rate_multiplier"), "learning_rate"),
    **dict.fromkeys(
        (
            "per_device_train_batch_size",
            "train_batch_size",
            "micro_batch_size",
            "gradient_accumulation_steps",
            "grad_accum",
            "bs",
        ),
        _BATCH,
    ),
    **dict.fromkeys(
        ("max_seq_length", "max_seq_len", "max_sequence_length", "sequence_len", "cutoff_len", "context_length"),
        "max_length",
    ),
    **dict.fromkeys(("lr_scheduler", "lr_scheduler_type", "scheduler"), "schedule"),
    **dict.fromkeys(("warmup", "warmup_steps", "num_warmup_steps"), _WARMUP),
    **dict.fromkeys(("save_steps", "n_checkpoints", "save_strategy"), _CHECKPOINTS),
    **dict.fromkeys(("n_evals", "eval_strategy", "evaluation_strategy"), "eval_steps"),
    **dict.fromkeys(("gradient_clipping", "max_gradient_norm", "clip_grad_norm"), "max_grad_norm"),
    **dict.fromkeys(("random_seed", "random_state"), "seed"),
    **dict.fromkeys(("bf16", "fp16", "torch_dtype", "precision"), "dtype='bfloat16', 'float16' or 'float32'"),
    **dict.fromkeys(("sample_packing", "pack"), "packing"),
    **dict.fromkeys(("run_name", "output_dir", "suffix"), "name"),
    **dict.fromkeys(("budget", "max_cost", "max_usd"), "budget_usd"),
    # Tuning and method
    **dict.fromkeys(("r", "lora_r", "lora_rank"), "rank, as in tuning=LoRA(rank=16)"),
    "rank": f"{_TUNING}it has rank",
    "lora_alpha": "alpha, as in tuning=LoRA(alpha=32)",
    "alpha": f"{_TUNING}it has alpha",
    "lora_dropout": "dropout, as in tuning=LoRA(dropout=0.05)",
    "dropout": f"{_TUNING}it has dropout",
    **dict.fromkeys(
        ("target_modules", "lora_target_modules", "lora_trainable_modules"),
        "target_modules, as in tuning=LoRA(target_modules=['q_proj']); left out, it is every linear layer",
    ),
    **dict.fromkeys(("lora", "peft_config", "adapter", "lora_config"), "tuning=LoRA()"),
    **dict.fromkeys(("load_in_4bit", "qlora", "quantization_config"), "tuning=QLoRA()"),
    "use_dora": "tuning=DoRA()",
    "use_rslora": "rank_stabilized, as in tuning=LoRA(rank_stabilized=True)",
    **dict.fromkeys(
        ("init_lora_weights", "init_weights", "lora_init", "peft_init_lora_weights"),
        "init, as in tuning=LoRA(init='pissa'): 'random', 'pissa' or 'olora'",
    ),
    **dict.fromkeys(
        ("layers_to_transform", "peft_layers_to_transform", "lora_layers"),
        "layers, numbers of blocks counted from 0, as in tuning=LoRA(layers=[30, 31])",
    ),
    **dict.fromkeys(
        ("num_virtual_tokens", "prompt_length", "prefix_length"),
        "virtual_tokens, as in tuning=PromptTuning(virtual_tokens=20) or PrefixTuning()",
    ),
    **dict.fromkeys(
        ("prompt_tuning_init_text", "prompt_tuning_init"), "init_text, as in tuning=PromptTuning(init_text='...')"
    ),
    **dict.fromkeys(
        ("neftune_noise_alpha", "neftune_alpha", "noise_alpha"), "neftune_alpha, as in method=SFT(neftune_alpha=5)"
    ),
    **dict.fromkeys(("optim", "optimizer_type", "optimizer_name"), "optimizer: 'adamw', 'adamw_8bit' or a paged one"),
    **dict.fromkeys(
        ("new_special_tokens", "additional_special_tokens", "add_special_tokens", "trainable_token_indices"),
        "add_tokens, as in model=Model(id=..., add_tokens=['<order>'])",
    ),
    **dict.fromkeys(("train_on_inputs", "train_on_input", "train_on", "mask_prompt"), _SFT),
    **dict.fromkeys(("completion_only_loss", "assistant_only_loss", "masking_strategy", "roles_to_train"), _SFT),
    **dict.fromkeys(("beta", "dpo_beta"), _DPO),
    "orpo_alpha": "method=ORPO(beta=...)",
    **dict.fromkeys(("gamma", "simpo_gamma", "gamma_beta_ratio"), "method=SimPO(beta=, gamma=): gamma is absolute"),
    **dict.fromkeys(
        ("desirable_weight", "undesirable_weight", "kto_chosen_weight", "kto_rejected_weight"),
        "method=KTO(desirable_weight=, undesirable_weight=)",
    ),
    **dict.fromkeys(("training_method", "training_type", "rl"), "method=SFT(), DPO(), KTO(), ORPO() or SimPO()"),
    # Where it runs
    **dict.fromkeys(("gpu", "gpus", "gpu_type", "cpu", "memory_gib", "region", "num_gpus"), _GPU),
    **dict.fromkeys(("provider", "device", "platform", "launcher"), "backend"),
}
"""What to write in place of a keyword that other tools have."""

INSTEAD_OF_VALUE: Mapping[tuple[str, str], str] = {
    ("target_modules", "all-linear"): "every linear layer is the default: leave it out",
    **dict.fromkeys((("optimizer", "adamw_torch"), ("optimizer", "adamw_torch_fused")), "write 'adamw'"),
    **dict.fromkeys((("optimizer", "adamw_bnb_8bit"), ("optimizer", "adamw8bit")), "write 'adamw_8bit'"),
    ("optimizer", "paged_adamw_32bit"): "write 'paged_adamw'",
    ("init", "gaussian"): "write 'random', peft's own random start",
    ("dtype", "bf16"): "write 'bfloat16'",
    ("dtype", "fp16"): "write 'float16'",
    ("dtype", "fp32"): "write 'float32'",
}
"""What to write in place of a field's value that other tools have."""

INSTEAD_OF_CLASS: Mapping[str, str] = {
    "Dataset": "should be a Dataset, such as Dataset.from_file('mails.csv').as_chat(prompt=, completion=)",
    "Sequence": "should be a list, with brackets around it: [...]",
    "Eval": "should be an Eval, such as Eval.exact_match(test)",
    "Decimal": "should be US dollars as a number, such as 20",
    "Backend": "should be a backend's name or a backend object, such as 'local' or Modal(gpu='H100')",
}
"""What a field of a class takes, where something else came."""
