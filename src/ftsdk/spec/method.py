"""Methods: what is learned from the data."""

from __future__ import annotations

from abc import ABC
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ftsdk.spec.base import Value, register_tags
from ftsdk.spec.dataset_ref import DataFormat

__all__ = ["DPO", "SFT", "AnyMethod", "Method", "TrainOn"]

TrainOn = Literal["completion", "assistant", "all"]
"""Which tokens the loss counts: the last assistant turn, every assistant turn, or every token."""


class AnyMethod(Value, ABC):
    """The facts that every method states about itself, so that no caller has to ask which one it is."""

    data_format: ClassVar[DataFormat]
    """The format of rows it learns from."""
    sequences_per_row: ClassVar[int]
    """Sequences that go through the model for one row."""
    needs_reference: ClassVar[bool]
    """Whether each row also goes through the untuned model."""

    @property
    def rendered_train_on(self) -> TrainOn:
        """Which tokens of a rendered sequence carry the loss."""
        return "completion"


class SFT(AnyMethod):
    """Supervised fine-tuning: learn to write what the data shows."""

    data_format: ClassVar[DataFormat] = "chat"
    sequences_per_row: ClassVar[int] = 1
    needs_reference: ClassVar[bool] = False

    kind: Literal["sft"] = "sft"
    train_on: TrainOn = "assistant"
    """Which tokens carry the loss. `"completion"`: the last assistant turn of each row. `"assistant"`: every
    assistant turn. `"all"`: everything, prompts and template included. On rows with one assistant turn the first two
    are the same. The default follows the practice of masking what the model won't have to write (QLoRA, section B.2,
    https://arxiv.org/abs/2305.14314, read 2026-11-23)."""

    @property
    def rendered_train_on(self) -> TrainOn:
        """Which tokens of a rendered sequence carry the loss."""
        return self.train_on


class DPO(AnyMethod):
    """Direct preference optimisation: learn to prefer one answer over another (https://arxiv.org/abs/2305.18290)."""

    data_format: ClassVar[DataFormat] = "preference"
    sequences_per_row: ClassVar[int] = 2
    needs_reference: ClassVar[bool] = True

    kind: Literal["dpo"] = "dpo"
    beta: Annotated[float, Field(gt=0, le=10)] = 0.1
    """How strongly the model is held to the reference: larger stays closer. 0.1 in the paper's experiments (appendix B)."""


register_tags(SFT, DPO)
Method = Annotated[SFT | DPO, Field(discriminator="kind")]
