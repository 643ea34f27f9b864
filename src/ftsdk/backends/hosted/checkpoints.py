"""Checkpoints that can be trusted: sealed when whole, and thrown out when not."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from ftsdk.errors import CorruptArtifactError
from ftsdk.runfolder.manifest import seal, verify

__all__ = ["CHECKPOINTS", "newest_whole", "prune", "seal_checkpoint", "step_of"]

CHECKPOINTS = "checkpoints"
_NAME = re.compile(r"^checkpoint-(\d+)$")


def step_of(folder: Path) -> int:
    """Read the optimizer step from the folder's name; -1 if it is no checkpoint."""
    match = _NAME.match(folder.name)
    return int(match.group(1)) if match else -1


def seal_checkpoint(folder: Path) -> None:
    """Declare a checkpoint whole. Its trainer has written everything that it needs to go on."""
    seal(folder, {"step": step_of(folder)})


def newest_whole(run_folder: Path) -> tuple[Path | None, list[str]]:
    """Find the newest checkpoint that matches its manifest.

    Returns:
        The checkpoint, or None if there is none; and a sentence for each newer one that was refused and removed.
    """
    refused: list[str] = []
    folders = sorted(
        (p for p in (run_folder / CHECKPOINTS).glob("checkpoint-*") if step_of(p) >= 0), key=step_of, reverse=True
    )
    for folder in folders:
        try:
            verify(folder)
        except CorruptArtifactError as error:
            shutil.rmtree(folder, ignore_errors=True)
            refused.append(
                f"checkpoint of step {step_of(folder)} refused and removed: "
                f"{str(error).replace(str(folder), folder.name)}"
            )
        else:
            return folder, refused
    return None, refused


def prune(run_folder: Path, *, keep: set[Path], newest: int = 2) -> None:
    """Remove old checkpoints. The two newest whole ones stay, so that one torn by a crash costs one interval only."""
    whole = [
        p
        for p in (run_folder / CHECKPOINTS).glob("checkpoint-*")
        if step_of(p) >= 0 and (p / "manifest.json").is_file()
    ]
    for folder in sorted(whole, key=step_of)[:-newest]:
        if folder not in keep:
            # The manifest goes first: a folder that is half removed must not look whole.
            (folder / "manifest.json").unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
