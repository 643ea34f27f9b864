"""Weights & Biases: a run whose id is ours, so that a resumed or repeated history continues it."""

from __future__ import annotations

import contextlib
import netrc
import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from ftsdk._home import home
from ftsdk.errors import SpecError
from ftsdk.protocol import TERMINAL, Event, LogEvent, StateEvent
from ftsdk.spec.positional import by_name_only
from ftsdk.trackers.readings import readings_of
from ftsdk.trackers.tracker import TrackedRun

__all__ = ["Wandb"]

Mode = Literal["online", "offline"]


@by_name_only
class Wandb:
    """Logs a run to Weights & Biases. The key comes from `WANDB_API_KEY` or `wandb login`, never from here.

    Args:
        project: The project.
        entity: The user or team; None: the key's own.
        mode: `"offline"` writes files that `wandb sync` sends later, and needs no account. None: `WANDB_MODE`, or
            online if there is a key.
        folder: Where its files go; None: `WANDB_DIR`, or `wandb` in ftsdk's home.

    Raises:
        SpecError: `mode` is unknown.
    """

    name = "wandb"

    def __init__(
        self,
        *,
        project: str = "ftsdk",
        entity: str | None = None,
        mode: Mode | None = None,
        folder: str | Path | None = None,
    ) -> None:
        if mode not in (None, "online", "offline"):
            raise SpecError(f"mode must be 'online' or 'offline'; got {mode!r}")
        self._project, self._entity, self._mode = project, entity, mode
        self._folder = None if folder is None else Path(folder).expanduser().resolve()

    @property
    def options(self) -> Mapping[str, Any]:
        """The arguments that rebuild it."""
        given = {
            "project": (self._project, "ftsdk"),
            "entity": (self._entity, None),
            "mode": (self._mode, None),
            "folder": (None if self._folder is None else str(self._folder), None),
        }
        return {name: value for name, (value, default) in given.items() if value != default}

    def __repr__(self) -> str:
        return f"Wandb({', '.join(f'{key}={value!r}' for key, value in self.options.items())})"

    def start(self, run: TrackedRun) -> None:
        """Open or continue the run."""
        wandb: Any = import_module("wandb")
        folder = self._folder or Path(os.environ.get("WANDB_DIR") or home() / "wandb")
        folder.mkdir(parents=True, exist_ok=True)
        settings = wandb.Settings(
            console="off",
            disable_git=True,
            disable_code=True,
            # Host, program and the machine's load are no part of a run's record.
            x_disable_meta=True,
            x_disable_stats=True,
            silent=True,
        )
        self._run: Any = wandb.init(
            project=self._project,
            entity=self._entity,
            id=run.id,
            name=str(run.spec.get("name") or run.id),
            resume="allow",
            dir=str(folder),
            mode=self._mode or _default_mode(),
            config=dict(run.spec),
            settings=settings,
        )
        self._is_bad = False

    def log(self, event: Event) -> None:
        """Log numbers under their step, and states in the summary."""
        found = readings_of(event)
        if found is not None:
            self._run.log({**found.values, "at": found.at}, step=found.step)
        elif isinstance(event, StateEvent):
            self._run.summary["state"] = event.state
            self._is_bad = event.state in TERMINAL and event.state != "succeeded"
        elif isinstance(event, LogEvent) and event.level != "info":
            self._run.summary[f"last_{event.level}"] = event.message

    def end(self) -> None:
        """Send what is left."""
        self._run.finish(exit_code=1 if self._is_bad else 0)


def _default_mode() -> Mode:
    """Return the mode that the environment asks for, or the one that works: online needs a key."""
    asked = os.environ.get("WANDB_MODE")
    if asked in ("online", "offline"):
        return asked
    if os.environ.get("WANDB_API_KEY"):
        return "online"
    host = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai").partition("://")[2].partition("/")[0]
    with contextlib.suppress(OSError, netrc.NetrcParseError):
        return "online" if netrc.netrc().authenticators(host.partition(":")[0]) else "offline"
    return "offline"
