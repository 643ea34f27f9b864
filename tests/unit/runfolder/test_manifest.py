"""A sealed folder, and what harms it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ftsdk.errors import CorruptArtifactError
from ftsdk.runfolder.manifest import seal, verify


def sealed(folder: Path) -> Path:
    (folder / "deep").mkdir(parents=True)
    (folder / "a.bin").write_bytes(b"a" * 100)
    (folder / "deep" / "b.bin").write_bytes(b"b" * 50)
    seal(folder, {"kind": "adapter"})
    return folder


def test_a_sealed_folder_verifies_and_keeps_its_facts(tmp_path: Path) -> None:
    manifest = verify(sealed(tmp_path / "x"))
    assert manifest["kind"] == "adapter"
    assert set(manifest["files"]) == {"a.bin", "deep/b.bin"}


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda f: (f / "manifest.json").unlink(), "incomplete"),
        (lambda f: (f / "manifest.json").write_text("{"), "can't be read"),
        (lambda f: (f / "a.bin").unlink(), "missing"),
        (lambda f: os.truncate(f / "a.bin", 50), "truncated"),
        (lambda f: (f / "a.bin").write_bytes(b"x" * 100), "altered"),
        (lambda f: (f / "c.bin").write_bytes(b"c"), "isn't listed in the manifest"),
        (
            lambda f: (f / "manifest.json").write_text('{"files": {"../a": {}, "a.bin": {}, "deep/b.bin": {}}}'),
            "outside the folder",
        ),
    ],
)
def test_a_folder_that_was_harmed_is_refused(tmp_path: Path, harm, said: str) -> None:
    folder = sealed(tmp_path / "x")
    harm(folder)
    with pytest.raises(CorruptArtifactError, match=said):
        verify(folder)
