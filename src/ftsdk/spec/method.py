"""Methods: what is learned from the data."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, NamedTuple, cast

from pydantic import Field

from ftsdk.spec.base import UnionMember, union_members
from ftsdk.spec.dataset_ref import DataFormat
from ftsdk.spec.other_words import INSTEAD_OF_WORD

__all__ = ["DPO", "METHODS", "SFT", "AnyMethod", "LearningRate", "LearningRates", "Method", "TrainOn"]

TrainOn = Literal["completion", "assistant", "all"]
"""Which tokens the loss counts: the last assistant turn, every assistant turn, or every token."""


class LearningRate(NamedTuple):
    """A default learning rate and its source."""

    value: float
    """Peak learning rate."""
    source: str
    """Where the value comes from, with a link."""


class LearningRates(NamedTuple):
    """The default learning rates of a method."""

    adapter: LearningRate
    """For tunings that train an adapter."""
    full: LearningRate
    """For tunings that train every weight."""


class AnyMethod(UnionMember, ABC):
    """What every method declares about itself, so that no caller has to ask which one it is.

    A new method goes into this file and into the `Method` union below. Besides, it needs a trainer and test values.
    """

    other_words: ClassVar[Mapping[str, str]] = INSTEAD_OF_WORD

    data_format: ClassVar[DataFormat]
    """The format of the rows it learns from."""
    sequences_per_row: ClassVar[int]
    """Sequences that go through the model for one row."""
    needs_reference: ClassVar[bool]
    """Whether each row also goes through the untuned model."""
    learning_rates: ClassVar[LearningRates]
    """Used by backends for jobs that set no `learning_rate`."""

    @property
    def rendered_train_on(self) -> TrainOn:
        """Which tokens of a rendered sequence carry the loss."""
        return "completion"


class SFT(AnyMethod):
    """Supervised fine-tuning: learn to write what the data shows."""

    data_format: ClassVar[DataFormat] = "chat"
    sequences_per_row: ClassVar[int] = 1
    needs_reference: ClassVar[bool] = False
    learning_rates: ClassVar[LearningRates] = LearningRates(
        adapter=LearningRate(
            2e-4, "QLoRA's recipe for models up to 13B (https://arxiv.org/abs/2305.14314, section B.2)"
        ),
        full=LearningRate(
            2e-5, "Alpaca's and Zephyr's recipe for full fine-tuning (https://arxiv.org/abs/2310.16944, section 4)"
        ),
    )

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
    learning_rates: ClassVar[LearningRates] = LearningRates(
        adapter=LearningRate(
            5e-6, "Zephyr's DPO recipe with QLoRA (huggingface/alignment-handbook, config_qlora.yaml)"
        ),
        full=LearningRate(
            5e-7, "Zephyr's DPO recipe for full fine-tuning (https://arxiv.org/abs/2310.16944, section 4)"
        ),
    )

    kind: Literal["dpo"] = "dpo"
    beta: Annotated[float, Field(gt=0, le=10)] = 0.1
    """How strongly the model is held to the reference: larger stays closer. 0.1 in the paper (appendix B)."""


Method = Annotated[SFT | DPO, Field(discriminator="kind")]

METHODS = cast("Mapping[str, type[Method]]", union_members(Method))
"""The methods by kind."""
