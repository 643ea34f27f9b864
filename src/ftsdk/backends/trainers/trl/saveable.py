"""What transformers loads but refuses to save, repaired before anything is trained."""

from __future__ import annotations

from typing import Any

__all__ = ["make_saveable"]

_SAMPLING = ("temperature", "top_p", "top_k", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff")


def make_saveable(model: Any) -> list[str]:
    """Repair a model's generation settings in place, so that checkpoints and artifact can be written.

    Published models have sampling parameters without `do_sample`, or generation parameters in `config.json`;
    transformers 5.23 raises on saving those. None of these settings matters to training.

    Returns:
        A sentence for each repair.
    """
    from transformers import GenerationConfig

    messages: list[str] = []
    misplaced: dict[str, Any] = model.config._get_generation_parameters()
    for name in misplaced:
        delattr(model.config, name)
    if misplaced:
        messages.append(f"config.json has generation settings, which are left out: {', '.join(sorted(misplaced))}")
    own = getattr(model, "generation_config", None)
    if own is None or _is_valid(own):
        return messages
    if any(getattr(own, name, None) is not None for name in _SAMPLING):
        own.do_sample = True
        if _is_valid(own):
            return [*messages, "generation_config.json samples without do_sample; it is saved with do_sample=true"]
    tokens = {
        name: value
        for name in ("bos_token_id", "eos_token_id", "pad_token_id")
        if (value := getattr(own, name, None)) is not None and _is_token(value)
    }
    model.generation_config = GenerationConfig(**tokens)
    return [*messages, "generation_config.json is invalid; only its special tokens are kept"]


def _is_token(value: Any) -> bool:
    return all(isinstance(token, int) and token >= 0 for token in (value if isinstance(value, list) else [value]))


def _is_valid(config: Any) -> bool:
    try:
        config.validate(strict=True)
    except (ValueError, TypeError, AttributeError):
        return False
    return True
