"""What answers, by the words of a command: a model, a run's ref or an endpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ftsdk.errors import SpecError

if TYPE_CHECKING:
    from ftsdk.evals import Endpoint
    from ftsdk.run.run import Run
    from ftsdk.spec import Model, TokenPrice

__all__ = ["is_url", "named_thing"]


def named_thing(
    text: str, *, api_key_env: str | None = None, price: TokenPrice | None = None
) -> Model | Endpoint | Run:
    """Return the model, endpoint or run that is meant.

    Args:
        text: An id on the hub, a folder, a run's ref, or URL#MODEL.
        api_key_env: The variable with the key of an endpoint.
        price: What an endpoint's tokens cost.

    Raises:
        SpecError: An endpoint has no model.
        RunNotFoundError: There is no such run.
    """
    from ftsdk.evals import Endpoint
    from ftsdk.run.run import Run
    from ftsdk.spec import Model

    if is_url(text):
        url, _, model = text.partition("#")
        if not model:
            raise SpecError(f"an endpoint is URL#MODEL, such as https://host/v1#my-model; got {text!r}")
        return Endpoint(url=url, model=model, api_key_env=api_key_env, price=price)
    if ":" in text and not Path(text).expanduser().exists():
        return Run.open(text)
    return Model(id=text)


def is_url(text: str) -> bool:
    """Return whether a text is meant as an endpoint."""
    return text.startswith(("http://", "https://"))
