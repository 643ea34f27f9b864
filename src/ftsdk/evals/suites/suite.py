"""From a name to a suite."""

from __future__ import annotations

from collections.abc import Callable

from ftsdk.evals.eval import Eval
from ftsdk.evals.registry import Registry

__all__ = ["Suite", "get_suite", "suite_names"]

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
