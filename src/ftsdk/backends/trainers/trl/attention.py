"""Which attention implementation a model is trained with."""

from __future__ import annotations

__all__ = ["attention_for"]

_WITHOUT_SDPA = frozenset(
    """
    big_bird bigbird_pegasus bloom codegen cpmant deepseek_v4 falcon_mamba flint gemma2 git got_ocr2 gpt_neo
    gpt_neox_japanese gpt_oss gptj granite_swa granitemoe_swa hy_v4 inkling2_text mamba mamba2 megatron-bert
    mimo_v2_flash mpt mvp openai-gpt prophetnet reformer rembert roformer rwkv trocr vaultgemma xglm xlm xlnet xlstm
    """.split()  # noqa: SIM905 - one line a type would be forty
)
"""Model types whose causal class has `_supports_sdpa = False` in transformers 5.23.0 (read 2026-11-27)."""


def _plain(model_type: str) -> str:
    # GGUF files write gpt-oss, and config.json gpt_oss.
    return model_type.replace("_", "").replace("-", "").lower()


_PLAIN = frozenset(map(_plain, _WITHOUT_SDPA))


def attention_for(model_type: str | None) -> tuple[str, str]:
    """Return the attention implementation for a model type, and why.

    Args:
        model_type: As `config.json` has it; None if it isn't known yet.
    """
    if model_type is not None and _plain(model_type) in _PLAIN:
        return "eager", f"transformers has no fused attention for {model_type}"
    if model_type is None:
        return "sdpa", "PyTorch's own fused attention; eager if the downloaded model turns out to have none"
    return "sdpa", "PyTorch's own fused attention, right on every device"
