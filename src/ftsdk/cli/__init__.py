"""The command line: a thin skin over the SDK."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line. An `FtsdkError` is printed as one message, with exit status 1 and no traceback."""
    from ftsdk.cli.app import app
    from ftsdk.cli.show import show_error
    from ftsdk.errors import FtsdkError

    try:
        app()
    except FtsdkError as error:
        show_error(error)
        sys.exit(1)
