"""Methods: what is learned from the data."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ftsdk.spec.base import Value, register_tags

__all__ = ["DPO", "SFT", "Method", "TrainOn"]

TrainOn = Literal["completion", "assistant", "all"]
"""Which tokens the loss counts: the last assistant turn, every assistant turn, or every token."""


class SFT(Value):
    """Supervised fine-tuning: learn to write what the data shows."""

    kind: Literal["sft"] = "sft"
    train_on: TrainOn = "assistant"
    """Which tokens carry the loss. `"completion"`: the last assistant turn of each row. `"assistant"`: every
    assistant turn. `"all"`: everything, prompts and template included. On rows with one assistant turn the first two
    are the same. The default follows the practice of masking what the model won't have to write (QLoRA, section B.2,
    https://arxiv.org/abs/2305.14314, read 2026-11-23)."""


class DPO(Value):
    """Direct preference optimisation: learn to prefer one answer over another (https://arxiv.org/abs/2305.18290)."""

    kind: Literal["dpo"] = "dpo"
    beta: Annotated[float, Field(gt=0, le=10)] = 0.1
    """How strongly the model is held to the reference: larger stays closer. 0.1 in the paper's experiments (appendix B)."""


register_tags(SFT, DPO)
Method = Annotated[SFT | DPO, Field(discriminator="kind")]
