"""What decides an API's bill beside its prices: how prompts are cached, and which models reason before they answer."""

from __future__ import annotations

import functools
import re
from importlib import resources
from typing import Any, cast

from ftsdk.cost.pricebook.price import Day
from ftsdk.spec import Value

__all__ = ["PromptCache", "prompt_cache", "reasons_by_default"]


class PromptCache(Value):
    """How a provider caches the part of a prompt that requests share."""

    provider: str
    models: str
    """A regular expression for the whole name of a model."""
    least_tokens: int
    """A shorter shared part isn't cached."""
    lifetime_s: float
    """Seconds after its last use for which the cache is kept."""
    source: str
    as_of: Day


def prompt_cache(model_ref: str) -> PromptCache | None:
    """Return how the prompts of an API's model are cached, or None if no source says.

    Args:
        model_ref: Provider and model, such as `anthropic/claude-haiku-4-5`.
    """
    provider, _, model = model_ref.lower().partition("/")
    caches = (PromptCache.from_dict(row) for row in _facts()["prompt_caches"])
    return next((one for one in caches if one.provider == provider and re.fullmatch(one.models, model)), None)


def reasons_by_default(model_ref: str) -> bool:
    """Return whether an API's model reasons before it answers unless that is switched off."""
    provider, _, model = model_ref.lower().partition("/")
    return any(
        re.fullmatch(row["provider"], provider) and re.fullmatch(row["models"], model) for row in _facts()["reasoning"]
    )


@functools.cache
def _facts() -> dict[str, list[dict[str, Any]]]:
    import yaml

    text = (resources.files("ftsdk.cost.pricebook") / "api-facts.yaml").read_text(encoding="utf-8")
    return cast("dict[str, list[dict[str, Any]]]", yaml.safe_load(text))
