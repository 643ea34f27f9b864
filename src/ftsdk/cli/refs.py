"""The argument REF, which a shell completes from the ledger."""

from __future__ import annotations

from typing import Annotated

import typer

from ftsdk.errors import FtsdkError

__all__ = ["EXAMPLE_REF", "Ref", "complete_ref"]

EXAMPLE_REF = "local:20261123-ab12cd"


def complete_ref(incomplete: str) -> list[str]:
    """Return the refs in the ledger that begin with what was typed, the newest first."""
    from ftsdk.run.ledger import Ledger

    try:
        return [entry.ref for entry in Ledger().entries() if entry.ref.startswith(incomplete)]
    except FtsdkError:
        return []


Ref = Annotated[
    str,
    typer.Argument(help=f"A run's ref, such as {EXAMPLE_REF}.", metavar="REF", autocompletion=complete_ref),
]
