"""Commands, one of which may be left out."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

__all__ = ["DefaultCommand"]


class DefaultCommand(TyperGroup):
    """A group of commands whose first word may be missing: `ftsdk eval RUN` is `ftsdk eval run RUN`."""

    default_command = "run"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command before what it is about."""
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = [self.default_command, *args]
        return super().parse_args(ctx, args)
