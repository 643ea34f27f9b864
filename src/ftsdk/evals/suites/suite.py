"""From a name to a suite."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from ftsdk.errors import SpecError
from ftsdk.evals.eval import Eval
from ftsdk.evals.registry import Registry

__all__ = ["Suite", "evals_of_suite", "get_suite", "suite_names"]

Suite = Callable[..., list[Eval]]
"""Returns evals for `evaluate`; arguments are its own."""

_SUITES: Registry[Suite] = Registry(group="ftsdk.suites", what="suite")


def suite_names() -> tuple[str, ...]:
    """Return the names of all known suites, without importing the packages behind them."""
    return _SUITES.names()


def get_suite(name: str) -> Suite:
    """Return a suite by name: an entry point in the group `ftsdk.suites`.

    ```python
    evals = get_suite("general")()
    ```

    Raises:
        SpecError: No such suite.
        MissingExtraError: A package that it imports isn't installed.
    """
    return _SUITES.get(name)


def evals_of_suite(recipe: Mapping[str, Any]) -> list[Eval]:
    """Return the evals of a suite as a job file names it: `{suite: general}`, with its arguments beside the name.

    Raises:
        SpecError: No such suite, or it doesn't take these arguments.
        MissingExtraError: A package that it imports isn't installed.
    """
    name = recipe["suite"]
    if not isinstance(name, str):
        raise SpecError(f"suite of an eval must be the name of a suite; got {name!r}")
    arguments = {key: value for key, value in recipe.items() if key != "suite"}
    suite = get_suite(name)
    try:
        inspect.signature(suite).bind(**arguments)
    except TypeError as error:
        raise SpecError(
            f"the suite {name!r} can't be called with {sorted(arguments) or 'no arguments'}: {error}. A suite that "
            "needs data isn't part of a job file; pass it to run.evaluate"
        ) from error
    return suite(**arguments)
