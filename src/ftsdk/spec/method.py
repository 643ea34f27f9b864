"""Methods: what is learned from the data."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, NamedTuple, cast

from pydantic import Field

from ftsdk.spec.base import UnionMember, union_members
from ftsdk.spec.dataset_ref import DataFormat
from ftsdk.spec.other_words import INSTEAD_OF_WORD
from ftsdk.spec.privacy import Privacy

__all__ = [
    "DPO",
    "KTO",
    "METHODS",
    "ORPO",
    "SFT",
    "AnyMethod",
    "LearningRate",
    "LearningRates",
    "Method",
    "SimPO",
    "TrainOn",
]

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
    untrained_passes: ClassVar[int]
    """Forward passes over a row beside the one that is trained: through the untuned model, and for what else the loss
    compares with."""
    learning_rates: ClassVar[LearningRates]
    """Used by backends for jobs that set no `learning_rate`."""

    @property
    def rendered_train_on(self) -> TrainOn:
        """Which tokens of a rendered sequence carry the loss."""
        return "completion"

    @property
    def compares_answers(self) -> bool:
        """Whether the loss compares probabilities of whole answers, to which dropout would add noise."""
        return self.data_format != "chat"

    @property
    def needs_several_rows(self) -> bool:
        """Whether the loss of a row depends on the other rows of its micro-batch, which has at least two then."""
        return False

    @property
    def extras(self) -> tuple[str, ...]:
        """Extras of ftsdk that a worker needs for it, beside the trainer's own."""
        return ()


class SFT(AnyMethod):
    """Supervised fine-tuning: learn to write what the data shows."""

    data_format: ClassVar[DataFormat] = "chat"
    sequences_per_row: ClassVar[int] = 1
    needs_reference: ClassVar[bool] = False
    untrained_passes: ClassVar[int] = 0
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
    neftune_alpha: Annotated[float, Field(gt=0, le=100)] | None = None
    """Add uniform noise to the embeddings while training, of alpha / sqrt(tokens x width) at most (NEFTune, where 5 to
    15 made chat answers better liked, and longer: https://arxiv.org/abs/2310.05914). None: no noise. Never in
    validation or evals."""
    privacy: Privacy | None = None
    """Train with differential privacy, for each row; None: without."""

    @property
    def extras(self) -> tuple[str, ...]:
        """Extras of ftsdk that a worker needs for it, beside the trainer's own."""
        return () if self.privacy is None else ("privacy",)

    @property
    def rendered_train_on(self) -> TrainOn:
        """Which tokens of a rendered sequence carry the loss."""
        return self.train_on


class DPO(AnyMethod):
    """Direct preference optimisation: learn to prefer one answer over another (https://arxiv.org/abs/2305.18290)."""

    data_format: ClassVar[DataFormat] = "preference"
    sequences_per_row: ClassVar[int] = 2
    needs_reference: ClassVar[bool] = True
    untrained_passes: ClassVar[int] = 1
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


class KTO(AnyMethod):
    """Kahneman-Tversky optimisation: learn from single answers marked good or bad (https://arxiv.org/abs/2402.01306).

    The loss compares how much likelier an answer has become with how much likelier answers to other questions have, on
    average: the KL term. That average is over the rows of a micro-batch, which therefore has at least two, and whose
    size is part of the maths.
    """

    data_format: ClassVar[DataFormat] = "unpaired"
    sequences_per_row: ClassVar[int] = 1
    needs_reference: ClassVar[bool] = True
    # The row through the untuned model, and another question's answer through both models.
    untrained_passes: ClassVar[int] = 3
    learning_rates: ClassVar[LearningRates] = LearningRates(
        adapter=LearningRate(
            5e-6, "its authors' example for Llama 3 8B (https://github.com/ContextualAI/HALOs, README)"
        ),
        full=LearningRate(5e-7, "TRL's recipe (https://github.com/huggingface/trl, trl/scripts/kto.py)"),
    )

    kind: Literal["kto"] = "kto"
    beta: Annotated[float, Field(gt=0, le=10)] = 0.1
    """How strongly the model is held to the reference: larger stays closer. 0.1 in the paper."""
    desirable_weight: Annotated[float, Field(gt=0, le=100)] = 1.0
    """Weight of good answers. With n good and m bad rows, `desirable_weight * n` should be 1 to 4/3 times
    `undesirable_weight * m` (the paper, equation 8)."""
    undesirable_weight: Annotated[float, Field(gt=0, le=100)] = 1.0
    """Weight of bad answers."""

    @property
    def needs_several_rows(self) -> bool:
        """Whether the loss of a row depends on the other rows of its micro-batch, which has at least two then."""
        return True


class ORPO(AnyMethod):
    """Odds-ratio preference optimisation: SFT on the better answer, and away from the worse one, in one step.

    It needs no reference model (https://arxiv.org/abs/2403.07691). TRL's loss, as the authors' own, has the prompt of
    the better answer in its SFT part too.
    """

    data_format: ClassVar[DataFormat] = "preference"
    sequences_per_row: ClassVar[int] = 2
    needs_reference: ClassVar[bool] = False
    untrained_passes: ClassVar[int] = 0
    learning_rates: ClassVar[LearningRates] = LearningRates(
        adapter=LearningRate(
            8e-5, "TRL's recipe with LoRA (https://github.com/huggingface/trl, examples/scripts/orpo.py)"
        ),
        full=LearningRate(8e-6, "TRL's recipe, and the paper's (https://arxiv.org/abs/2403.07691)"),
    )

    kind: Literal["orpo"] = "orpo"
    beta: Annotated[float, Field(gt=0, le=10)] = 0.1
    """Weight of the odds ratio beside the SFT loss: the paper's lambda, 0.1 there."""


class SimPO(AnyMethod):
    """Simple preference optimisation: the better answer likelier per token by a margin, without a reference model.

    https://arxiv.org/abs/2405.14734; nothing is added to the loss of the paper.
    """

    data_format: ClassVar[DataFormat] = "preference"
    sequences_per_row: ClassVar[int] = 2
    needs_reference: ClassVar[bool] = False
    untrained_passes: ClassVar[int] = 0
    learning_rates: ClassVar[LearningRates] = LearningRates(
        adapter=LearningRate(
            5e-6, "ten times that of full fine-tuning, as in Zephyr's DPO recipes (huggingface/alignment-handbook)"
        ),
        full=LearningRate(
            5e-7, "the middle of what its authors search (https://github.com/princeton-nlp/SimPO, README)"
        ),
    )

    kind: Literal["simpo"] = "simpo"
    beta: Annotated[float, Field(gt=0, le=100)] = 2.0
    """Scale of the rewards, which are mean log-probabilities of a token. 2.0 to 2.5 in the paper; far above DPO's."""
    gamma: Annotated[float, Field(ge=0, le=100)] = 1.0
    """The margin by which the better answer's reward should win. The authors start from half of `beta`."""


Method = Annotated[SFT | DPO | KTO | ORPO | SimPO, Field(discriminator="kind")]

METHODS = cast("Mapping[str, type[Method]]", union_members(Method))
"""The methods by kind."""
