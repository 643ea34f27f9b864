"""Checkpoints: sealed once they are whole, and removed if they aren't."""

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
    """Return the optimizer step in a checkpoint folder's name; -1 if the name isn't one of a checkpoint."""
    match = _NAME.match(folder.name)
    return int(match.group(1)) if match else -1


def seal_checkpoint(folder: Path) -> None:
    """Mark a checkpoint as whole. Call it once the trainer has written everything that it needs to resume."""
    seal(folder, {"step": step_of(folder)})


def newest_whole(run_folder: Path) -> tuple[Path | None, list[str]]:
    """Return the newest checkpoint that matches its manifest. Newer ones that don't are removed.

    Returns:
        The checkpoint, or None if there is none; and a message for each checkpoint that was removed.
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
                f"the checkpoint at step {step_of(folder)} is damaged and was removed: "
                f"{str(error).replace(str(folder), folder.name)}"
            )
        else:
            return folder, refused
    return None, refused


def prune(run_folder: Path, *, keep: set[Path], newest: int = 2) -> None:
    """Remove old checkpoints.

    The two newest whole ones are kept, so that if a crash damages one, only one interval is lost.
    """
    whole = [
        p
        for p in (run_folder / CHECKPOINTS).glob("checkpoint-*")
        if step_of(p) >= 0 and (p / "manifest.json").is_file()
    ]
    for folder in sorted(whole, key=step_of)[:-newest]:
        if folder not in keep:
            # The manifest first: a folder that is half removed must not look whole.
            (folder / "manifest.json").unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
