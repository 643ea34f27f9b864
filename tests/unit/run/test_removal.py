"""Removing a run: what is deleted, what stays, and what has changed since it was planned."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftsdk import FtsdkError, RunNotFoundError, RunNotReadyError
from ftsdk.run.ledger import Ledger, Record
from ftsdk.run.removal import plan_removal
from ftsdk.runfolder import lock

REF = "local:20260101-ended"


@pytest.fixture
def folder(ftsdk_home: Path) -> Path:
    """The folder of a cancelled run, with a file of 100 bytes."""
    ledger = Ledger()
    ledger.intend(Record(ref=REF, name=None, plan={"spec": {"model": {"id": "m"}}}, options={}))
    ledger.never_started(REF, "cancelled", "a test")
    folder = ftsdk_home / "runs" / "20260101-ended"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "weights").write_bytes(b"x" * 100)
    return folder


def is_known() -> bool:
    return bool(Ledger().entries())


def test_folder_results_and_record_are_removed(folder: Path, ftsdk_home: Path) -> None:
    results = ftsdk_home / "results" / "local-20260101-ended"
    results.mkdir(parents=True)
    (results / "report.json").write_bytes(b"y" * 50)
    other = ftsdk_home / "runs" / "20260101-other"
    other.mkdir()
    removal = plan_removal(REF)
    assert (removal.state, removal.folders) == ("cancelled", (folder, results))
    assert removal.bytes >= 150
    assert is_known()
    removal.remove()
    assert (folder.exists(), results.exists(), other.exists(), is_known()) == (False, False, True, False)


def test_a_folder_that_is_a_link_loses_only_the_link(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "large disk"
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)
    kept = sorted(path.name for path in elsewhere.rglob("*"))
    removal = plan_removal(REF)
    assert (removal.folders, removal.bytes) == ((folder,), 0)
    removal.remove()
    assert not folder.is_symlink()
    assert sorted(path.name for path in elsewhere.rglob("*")) == kept
    assert not is_known()


def test_links_inside_a_folder_are_not_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows.jsonl").write_text("{}\n")
    (folder / "data").symlink_to(tmp_path / "data")
    (folder / "dangling").symlink_to(tmp_path / "nowhere")
    plan_removal(REF).remove()
    assert not folder.exists()
    assert (tmp_path / "data" / "rows.jsonl").exists()


def test_a_dangling_link_and_a_file_in_the_folders_place_go_too(folder: Path, tmp_path: Path) -> None:
    folder.rename(tmp_path / "aside")
    folder.symlink_to(tmp_path / "nowhere")
    plan_removal(REF).remove()
    assert not folder.is_symlink()
    assert not is_known()


def test_a_run_that_was_removed_meanwhile_is_not_found(folder: Path) -> None:
    first, second = plan_removal(REF), plan_removal(REF)
    first.remove()
    with pytest.raises(RunNotFoundError, match="ftsdk runs"):
        second.remove()


def test_a_folder_that_is_gone_meanwhile_is_no_error(folder: Path, tmp_path: Path) -> None:
    removal = plan_removal(REF)
    folder.rename(tmp_path / "aside")
    removal.remove()
    assert not is_known()


def test_a_run_that_a_worker_took_up_meanwhile_stays_whole(folder: Path) -> None:
    removal = plan_removal(REF)
    with lock.hold(folder) as is_held:
        assert is_held
        with pytest.raises(RunNotReadyError, match="a worker still uses"):
            removal.remove()
    assert (folder / "checkpoints" / "weights").exists()
    assert is_known()


def test_a_run_that_has_not_ended_meanwhile_stays_whole(folder: Path) -> None:
    removal = plan_removal(REF)
    Ledger().never_started(REF, "intended", "tried again")
    with pytest.raises(RunNotReadyError, match=f"ftsdk cancel {REF}"):
        removal.remove()
    assert folder.exists()
    assert is_known()


def test_what_cannot_be_deleted_leaves_the_run_in_the_ledger(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object, **_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("shutil.rmtree", refuse)
    with pytest.raises(FtsdkError, match="Permission denied"):
        plan_removal(REF).remove()
    assert is_known()
