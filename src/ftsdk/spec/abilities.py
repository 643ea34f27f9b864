"""What a model can do, beyond naming itself: functions of packages that are loaded on first use.

A `Model` is a value and knows nobody who loads weights. Each ability is an entry point in the group
`ftsdk.model_abilities`: its name is that of the method of `Model`, and it leads to a function with the signature below.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ftsdk._entry_points import installed
from ftsdk.errors import FtsdkError, MissingExtraError

if TYPE_CHECKING:
    from ftsdk.spec.model import Model

__all__ = ["GROUP", "Generates", "Messages", "Unloads", "model_ability"]

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
