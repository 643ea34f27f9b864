"""Tunings: which weights are trained."""

from __future__ import annotations

import math
import re
from abc import ABC
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self, cast

from pydantic import Field, field_validator, model_validator

from ftsdk.spec.base import UnionMember, union_members
from ftsdk.spec.method import LearningRate
from ftsdk.spec.other_words import INSTEAD_OF_WORD

__all__ = [
    "IA3",
    "TUNINGS",
    "AnyLoRA",
    "AnyTuning",
    "AnyVirtualTokens",
    "DoRA",
    "FullFineTune",
    "LoRA",
    "PrefixTuning",
    "PromptTuning",
    "QLoRA",
    "Tuning",
]


class AnyTuning(UnionMember, ABC):
    """What every tuning declares about itself, so that no caller has to ask which one it is.

    A new tuning goes into this file and into the `Tuning` union below.
    """

    other_words: ClassVar[Mapping[str, str]] = INSTEAD_OF_WORD

    adapts: ClassVar[bool]
    """Whether the model's own weights stay frozen and the result is an adapter."""
    quantizes: ClassVar[bool]
    """Whether the frozen weights are held in 4 bits during training."""
    is_low_rank: ClassVar[bool] = False
    """Whether the result is low-rank matrices, which can be merged, exported and served by themselves."""
    trains_on_answers_alone: ClassVar[bool] = False
    """Whether it is offered for SFT only: nobody has published a recipe with a loss that compares answers."""
    usual_learning_rate: ClassVar[LearningRate | None] = None
    """For jobs that set no `learning_rate`; None: the method's, which is for LoRA or for all weights."""

    @property
    def added_positions(self) -> int:
        """Positions of the context that the tuning takes in every row, in tokens."""
        return 0


class AnyLoRA(AnyTuning):
    """The base of the low-rank tunings: small matrices added to frozen weights (https://arxiv.org/abs/2106.09685)."""

    adapts: ClassVar[bool] = True
    is_low_rank: ClassVar[bool] = True

    rank: Annotated[int, Field(ge=1, le=4096)] = 16
    """Width of the added matrices. 8 to 64 is usual; more rank means more capacity and more memory."""
    alpha: Annotated[float, Field(gt=0)] | None = None
    """Scale of the update, applied as alpha / rank, or as alpha / sqrt(rank) with `rank_stabilized`. None: 2 x rank,
    the common rule, or 2 x sqrt(rank), which is the same scale of 2."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Dropout on the adapter's input while training (QLoRA uses 0.05 for models up to 13B, section B.2)."""
    target_modules: Annotated[tuple[str, ...], Field(min_length=1)] | str | None = None
    """The linear layers that get an adapter: names such as `["q_proj", "v_proj"]`, or one regular expression that
    matches whole names, such as `r".*\\.(q|v)_proj"`. None: every linear layer but the output head, which the QLoRA
    paper (section 4) found necessary to match full fine-tuning."""
    layers: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] | None = None
    """Numbers of the transformer blocks that get adapters, counted from 0. None: all. Not beside a regular expression,
    which can name blocks itself."""
    rank_stabilized: bool = False
    """Divide by sqrt(rank) and not by rank (rsLoRA), so that a high rank learns as fast as a low one
    (https://arxiv.org/abs/2312.03732)."""

    @field_validator("target_modules")
    @classmethod
    def _can_be_compiled(cls, targets: tuple[str, ...] | str | None) -> tuple[str, ...] | str | None:
        if targets == "all-linear":
            raise ValueError("every linear layer is the default: leave it out")
        if isinstance(targets, str) and re.fullmatch(r"\w+", targets):
            raise ValueError(
                f"names go into a list, as in [{targets!r}]; text is a regular expression for whole names, such as "
                rf"r'.*\.{targets}'"
            )
        if isinstance(targets, str):
            try:
                re.compile(targets)
            except re.error as error:
                raise ValueError(f"is no regular expression ({error}); for names, write a list") from error
        return targets

    @field_validator("layers")
    @classmethod
    def _each_once(cls, layers: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if layers is not None and len(set(layers)) < len(layers):
            raise ValueError("names a block twice")
        return layers

    @model_validator(mode="after")
    def _one_way_to_choose_blocks(self) -> Self:
        if isinstance(self.target_modules, str) and self.layers is not None:
            raise ValueError(
                "layers goes with names: a regular expression chooses blocks itself, such as "
                r"target_modules=r'.*\.layers\.(0|1)\..*q_proj'"
            )
        return self

    @property
    def effective_alpha(self) -> float:
        """The alpha in effect: the one that was set, or what makes a scale of 2."""
        if self.alpha is not None:
            return self.alpha
        return 2.0 * (math.sqrt(self.rank) if self.rank_stabilized else self.rank)

    @property
    def held_rank(self) -> int:
        """Rank of the matrices that are held and saved, of which half stay as they were if the start is in them."""
        return self.rank

    def targets(self, name: str) -> bool:
        """Return whether a linear layer gets an adapter, by peft's rules.

        Args:
            name: Its full name, such as `model.layers.3.self_attn.q_proj`. The output head isn't asked about.
        """
        if isinstance(self.target_modules, str):
            return re.fullmatch(self.target_modules, name) is not None
        if self.layers is not None:
            block = re.search(r"\.(\d+)\.", name)
            if block is None or int(block.group(1)) not in self.layers:
                return False
        return self.target_modules is None or any(
            name == target or name.endswith(f".{target}") for target in self.target_modules
        )


class LoRA(AnyLoRA):
    """Low-rank adapters on frozen weights: the default, and right for most first fine-tunes."""

    quantizes: ClassVar[bool] = False

    kind: Literal["lora"] = "lora"
    init: Literal["random", "pissa", "olora"] = "random"
    """Where the adapter starts. `"random"`: at nothing. `"pissa"`: at the weights' largest singular components
    (https://arxiv.org/abs/2404.02948); `"olora"`: at the first columns of their QR decomposition
    (https://arxiv.org/abs/2406.01775). Both still begin as the untuned model: what they start from is taken off again
    by a second, fixed half of the matrices, so that the base stays as it is and the result is a plain LoRA of twice the
    rank and twice the alpha."""

    @property
    def held_rank(self) -> int:
        """Rank of the matrices that are held and saved, of which half stay as they were if the start is in them."""
        return self.rank if self.init == "random" else 2 * self.rank


class QLoRA(AnyLoRA):
    """LoRA over 4-bit (NF4) weights: a quarter of the memory, slower steps (https://arxiv.org/abs/2305.14314)."""

    quantizes: ClassVar[bool] = True

    kind: Literal["qlora"] = "qlora"
    double_quantization: bool = True
    """Quantise the quantisation constants too: about 0.4 bits per weight less (QLoRA, section 3)."""


class DoRA(AnyLoRA):
    """LoRA with the magnitude of each weight column learned separately (https://arxiv.org/abs/2402.09353)."""

    quantizes: ClassVar[bool] = False

    kind: Literal["dora"] = "dora"


class IA3(AnyTuning):
    """One learned factor for each key, value and MLP activation: a few hundred thousand parameters at 8B.

    For models whose layers are named as Llama's (`k_proj`, `v_proj`, `down_proj`). https://arxiv.org/abs/2205.05638
    """

    adapts: ClassVar[bool] = True
    quantizes: ClassVar[bool] = False
    trains_on_answers_alone: ClassVar[bool] = True
    usual_learning_rate: ClassVar[LearningRate | None] = LearningRate(
        3e-3, "the recipe of its paper, T-Few, which has it with Adafactor (https://arxiv.org/abs/2205.05638)"
    )

    kind: Literal["ia3"] = "ia3"


class AnyVirtualTokens(AnyTuning):
    """The base of the tunings that learn what stands before every row, and change no weight.

    The result can't be merged, so only peft runs it: on this machine, in evals and in `Model.generate`.
    """

    adapts: ClassVar[bool] = True
    quantizes: ClassVar[bool] = False
    trains_on_answers_alone: ClassVar[bool] = True

    virtual_tokens: Annotated[int, Field(ge=1, le=4096)] = 20
    """Positions before every row. They count towards the model's context. 20 to 100 is usual (Lester et al., section
    3.2, https://arxiv.org/abs/2104.08691)."""
    init_text: Annotated[str, Field(min_length=1)] | None = None
    """Text whose tokens the positions start as, repeated or cut to fit, such as a description of the task. It is
    steadier than None, which starts at random (Lester et al., section 3.2; Li and Liang, section 7.4,
    https://arxiv.org/abs/2101.00190)."""

    @property
    def added_positions(self) -> int:
        """Positions of the context that the tuning takes in every row, in tokens."""
        return self.virtual_tokens


class PromptTuning(AnyVirtualTokens):
    """Learned embeddings before every row: thousands of parameters, one small file a task.

    It needs a large model: the paper found it on a par with full fine-tuning from 10 billion parameters, and far behind
    below one billion (https://arxiv.org/abs/2104.08691, figure 1).
    """

    usual_learning_rate: ClassVar[LearningRate | None] = LearningRate(
        3e-2, "peft's guide to prompt tuning (https://huggingface.co/docs/peft/v0.6.0/task_guides/clm-prompt-tuning)"
    )

    kind: Literal["prompt"] = "prompt"


class PrefixTuning(AnyVirtualTokens):
    """Learned keys and values before every row, in every layer: more capacity than prompt tuning.

    They are learned directly, without the paper's network around them, which peft doesn't save and which a resumed
    training would therefore lack. https://arxiv.org/abs/2101.00190
    """

    usual_learning_rate: ClassVar[LearningRate | None] = LearningRate(
        1e-2,
        "peft's guide to prefix tuning (https://huggingface.co/docs/peft/v0.6.0/task_guides/seq2seq-prefix-tuning)",
    )

    kind: Literal["prefix"] = "prefix"


class FullFineTune(AnyTuning):
    """Train every weight: most capacity, most memory (about 16 bytes a parameter); the result is a whole model."""

    adapts: ClassVar[bool] = False
    quantizes: ClassVar[bool] = False

    kind: Literal["full"] = "full"


Tuning = Annotated[LoRA | QLoRA | DoRA | IA3 | PromptTuning | PrefixTuning | FullFineTune, Field(discriminator="kind")]

TUNINGS = cast("Mapping[str, type[Tuning]]", union_members(Tuning))
"""The tunings by kind."""
