"""Checkpoints that are whole, and those that stay."""

from __future__ import annotations

import os
from pathlib import Path

from ftsdk.backends.hosted.checkpoints import newest_whole, prune, seal_checkpoint


def checkpoint(run: Path, step: int) -> Path:
    folder = run / "checkpoints" / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "weights").write_bytes(os.urandom(64))
    seal_checkpoint(folder)
    return folder


def test_the_newest_whole_checkpoint_is_found_and_torn_ones_are_thrown_out(tmp_path: Path) -> None:
    checkpoint(tmp_path, 5)
    good = checkpoint(tmp_path, 10)
    os.truncate(checkpoint(tmp_path, 15) / "weights", 10)
    (tmp_path / "checkpoints" / "checkpoint-20").mkdir()
    found, refused = newest_whole(tmp_path)
    assert found == good
    assert len(refused) == 2
    assert not (tmp_path / "checkpoints" / "checkpoint-15").exists()


def test_old_checkpoints_go_and_the_best_stays(tmp_path: Path) -> None:
    folders = {step: checkpoint(tmp_path, step) for step in (2, 4, 6, 8, 10)}
    prune(tmp_path, keep={folders[4]})
    assert {step for step, folder in folders.items() if folder.exists()} == {4, 8, 10}
