"""The command line: a thin skin over the SDK."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line. An `FtsdkError` is printed as one message, without a traceback.

    The exit status is one of `ftsdk.cli.exit_codes`.
    """
    from ftsdk.cli.app import app
    from ftsdk.cli.exit_codes import code_of_error
    from ftsdk.cli.show import show_error
    from ftsdk.errors import FtsdkError

    try:
        app()
    except FtsdkError as error:
        show_error(error)
        sys.exit(code_of_error(error))
