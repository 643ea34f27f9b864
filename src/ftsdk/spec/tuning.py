"""Tunings: which weights are trained."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, cast

from pydantic import Field

from ftsdk.spec.base import UnionMember, union_members
from ftsdk.spec.other_words import INSTEAD_OF_WORD

__all__ = ["TUNINGS", "AnyLoRA", "AnyTuning", "DoRA", "FullFineTune", "LoRA", "QLoRA", "Tuning"]


class AnyTuning(UnionMember, ABC):
    """What every tuning declares about itself, so that no caller has to ask which one it is.

    A new tuning goes into this file and into the `Tuning` union below.
    """

    other_words: ClassVar[Mapping[str, str]] = INSTEAD_OF_WORD

    adapts: ClassVar[bool]
    """Whether the model's own weights stay frozen and the result is an adapter."""
    quantizes: ClassVar[bool]
    """Whether the frozen weights are held in 4 bits during training."""


class AnyLoRA(AnyTuning):
    """The base of the low-rank tunings: small matrices added to frozen weights (https://arxiv.org/abs/2106.09685)."""

    adapts: ClassVar[bool] = True

    rank: Annotated[int, Field(ge=1, le=4096)] = 16
    """Width of the added matrices. 8 to 64 is usual; more rank means more capacity and more memory."""
    alpha: Annotated[float, Field(gt=0)] | None = None
    """Scale of the update, applied as alpha / rank. None: 2 x rank, the common rule."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Dropout on the adapter's input while training (QLoRA uses 0.05 for models up to 13B, section B.2)."""
    target_modules: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Names of the linear layers that get an adapter. None: every linear layer but the output head, which the QLoRA
    paper (section 4) found necessary to match full fine-tuning."""

    @property
    def effective_alpha(self) -> float:
        """The alpha in effect: the one that was set, or 2 x rank."""
        return 2.0 * self.rank if self.alpha is None else self.alpha


class LoRA(AnyLoRA):
    """Low-rank adapters on frozen weights: the default, and right for most first fine-tunes."""

    quantizes: ClassVar[bool] = False

    kind: Literal["lora"] = "lora"


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


class FullFineTune(AnyTuning):
    """Train every weight: most capacity, most memory (about 16 bytes a parameter); the result is a whole model."""

    adapts: ClassVar[bool] = False
    quantizes: ClassVar[bool] = False

    kind: Literal["full"] = "full"


Tuning = Annotated[LoRA | QLoRA | DoRA | FullFineTune, Field(discriminator="kind")]

TUNINGS = cast("Mapping[str, type[Tuning]]", union_members(Tuning))
"""The tunings by kind."""
