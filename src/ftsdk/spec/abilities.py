"""What a model can do, beyond naming itself: functions of packages that are loaded on first use.

A `Model` is a value and knows nobody who loads weights. Each ability is an entry point in the group
`ftsdk.model_abilities`: its name is that of the method of `Model`, and it leads to a function with the signature below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ftsdk._entry_points import installed
from ftsdk.errors import FtsdkError, MissingExtraError

if TYPE_CHECKING:
    from ftsdk.spec.model import Model

__all__ = ["GROUP", "ExportReport", "Exports", "Generates", "Messages", "Unloads", "model_ability"]

GROUP = "ftsdk.model_abilities"

Messages = Sequence[Mapping[str, Any]]
"""A conversation up to the answer: messages, each with `role` and `content`."""


class Generates(Protocol):
    """The ability `generate`."""

    def __call__(
        self,
        model: Model,
        prompt: str | Messages | Sequence[str | Messages],
        /,
        *,
        system: str | None,
        max_new_tokens: int | None,
        choices: Sequence[str] | None,
        schema: Mapping[str, Any] | None,
    ) -> str | list[str]:
        """Answer; see `Model.generate`."""
        ...


class Unloads(Protocol):
    """The ability `unload`."""

    def __call__(self, model: Model, /) -> None:
        """Free the memory of the model; see `Model.unload`."""
        ...


class ExportReport(Protocol):
    """What `Model.export` returns: `ftsdk.models.export.Export`, of a layer above this one."""

    @property
    def path(self) -> Path:
        """The folder."""
        ...

    @property
    def state(self) -> Literal["proven", "failed", "unproven"]:
        """Whether the gates passed, one of them failed, or some couldn't be checked."""
        ...

    @property
    def has_failed(self) -> bool:
        """Whether a gate found that this isn't the model that was evaluated: it won't be served."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        ...

    def to_html(self) -> str:
        """Return a page: the gates, and every answer that changed."""
        ...


class Exports(Protocol):
    """The ability `export`."""

    def __call__(
        self,
        model: Model,
        into: str | Path,
        /,
        *,
        to: str,
        quantization: str | None,
        adapter_only: bool,
        prompts: Sequence[str | Messages] | None,
        evals: Sequence[Any],
        most_loss: float,
        reference_dtype: Literal["float32", "bfloat16", "float16"],
        prove: bool,
        name: str | None,
        on_message: Callable[[str], None] | None,
    ) -> ExportReport:
        """Export; see `Model.export`."""
        ...


def model_ability(name: str) -> Any:
    """Return the function behind a method of `Model`.

    Raises:
        MissingExtraError: The package that brings it can't be imported.
        FtsdkError: No installed package brings it.
    """
    point = installed(GROUP).get(name)
    if point is None:
        raise FtsdkError(
            f"Model.{name} needs the entry point {name!r} of the group {GROUP!r}, and no installed package has it: "
            "this installation of ftsdk is damaged or older than its code. Install it again: "
            "pip install --force-reinstall --no-deps ftsdk"
        )
    try:
        return point.load()
    except ImportError as error:
        package = point.dist.name if point.dist else "ftsdk"
        raise MissingExtraError("local", needed_for=f"Model.{name}", missing=error.name, package=package) from error
