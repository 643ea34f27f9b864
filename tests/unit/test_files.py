"""Atomic writes and run ids."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from ftsdk._files import is_run_id, make_folder, replace_file, replacing


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_replaced_file_is_private_and_so_are_the_folders_made_for_it(tmp_path: Path) -> None:
    umask = os.umask(0o022)
    try:
        replace_file(tmp_path / "a" / "b" / "file", b"one")
        replace_file(tmp_path / "shared", b"one", is_private=False)
    finally:
        os.umask(umask)
    assert (mode(tmp_path / "a" / "b" / "file"), mode(tmp_path / "a"), mode(tmp_path / "a" / "b")) == (
        0o600,
        0o700,
        0o700,
    )
    assert mode(tmp_path / "shared") == 0o644


def test_a_failed_write_leaves_the_old_file_and_no_draft(tmp_path: Path) -> None:
    target = tmp_path / "file"
    replace_file(target, b"old")
    with pytest.raises(FileNotFoundError), replacing(target) as draft:
        (draft / "below").write_bytes(b"")
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_threads_that_replace_one_file_leave_one_whole_content(tmp_path: Path) -> None:
    contents = [bytes([65 + n]) * 100_000 for n in range(8)]
    threads = [threading.Thread(target=replace_file, args=(tmp_path / "file", content)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "file").read_bytes() in contents
    assert len(list(tmp_path.iterdir())) == 1


def test_making_a_folder_twice_does_nothing(tmp_path: Path) -> None:
    make_folder(tmp_path / "a")
    make_folder(tmp_path / "a")
    assert (tmp_path / "a").is_dir()


@pytest.mark.parametrize("text", ["", ".", "..", "a/b", "../a", "a\n", "-a", "a" * 81])
def test_ids_that_could_leave_the_folder_of_runs_are_refused(text: str) -> None:
    assert not is_run_id(text)


def test_generated_ids_are_accepted() -> None:
    assert is_run_id("20261123-ab12cd")
