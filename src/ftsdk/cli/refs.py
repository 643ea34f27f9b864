"""The argument REF, which a shell completes from the ledger."""

from __future__ import annotations

from typing import Annotated

import typer

from ftsdk.errors import FtsdkError

__all__ = ["Ref"]


def _complete(incomplete: str) -> list[str]:
    """Return the refs in the ledger that begin with what was typed, the newest first."""
    from ftsdk.run.ledger import Ledger

    try:
        return [entry.ref for entry in Ledger().entries() if entry.ref.startswith(incomplete)]
    except FtsdkError:
        return []


Ref = Annotated[
    str,
    typer.Argument(help="A run's ref, such as local:20261123-ab12cd.", metavar="REF", autocompletion=_complete),
]
