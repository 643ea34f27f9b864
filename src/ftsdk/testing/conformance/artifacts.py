"""Artifacts: the last write means done, and nothing half-written passes for complete."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from ftsdk.errors import RunNotReadyError
from ftsdk.testing.conformance.hooks import Hooks, reopened, through_json

__all__ = ["ArtifactChecks"]

_MANIFEST = "manifest.json"
_PICKLES = frozenset({".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"})


class ArtifactChecks(Hooks):
    """`collect`."""

    def test_nothing_is_collected_before_the_end(self, tmp_path: Path) -> None:
        """An unfinished run has no weights yet."""
        backend = self.make_backend(tmp_path)
        ref = self._submitted(backend)
        into = tmp_path / "too early"
        with pytest.raises(RunNotReadyError):
            backend.collect(ref, into)
        self._stop(backend, ref)
        assert not (into / _MANIFEST).exists(), "a folder that looks complete was left behind"

    def test_the_artifact_is_whole(self, tmp_path: Path) -> None:
        """Every file is in the manifest with its size and SHA-256; no pickle; collecting again changes nothing."""
        finished = self._finished(tmp_path)
        into = tmp_path / "artifact"
        artifact = finished.backend.collect(finished.ref, into)
        assert not _problems_of(into), "\n".join(_problems_of(into))
        assert artifact.path == into, f"the artifact claims to be in {artifact.path}"
        assert artifact.kind in ("adapter", "model")
        assert artifact.base, "the artifact doesn't name the model that was tuned"
        assert json.loads(json.dumps(dict(artifact.manifest))) == json.loads((into / _MANIFEST).read_text()), (
            "the returned manifest isn't the one on disk"
        )
        again = reopened(finished.backend).collect(through_json(finished.ref), into)
        assert not _problems_of(into), "\n".join(_problems_of(into))
        assert dict(again.manifest)["files"] == dict(artifact.manifest)["files"], (
            "collecting again returned other files"
        )

    def test_the_manifest_comes_last(self, tmp_path: Path) -> None:
        """Whichever file can't be written, no manifest claims it."""
        finished = self._finished(tmp_path)
        whole = finished.backend.collect(finished.ref, tmp_path / "whole")
        for number, name in enumerate(sorted(dict(whole.manifest)["files"])):
            into = tmp_path / f"blocked {number}"
            # A folder instead of the file: the write fails, as it would on a full disk.
            (into / name / "in the way").mkdir(parents=True)
            try:
                finished.backend.collect(finished.ref, into)
            except Exception:  # noqa: BLE001 - whatever is raised, what counts is what was left behind
                assert not (into / _MANIFEST).exists() or not _problems_of(into), (
                    f"{name} couldn't be written, and yet there is a {_MANIFEST}"
                )
            else:
                assert not _problems_of(into), (
                    f"{name} was in the way, nothing was raised, and the artifact isn't whole: {_problems_of(into)}"
                )

    def test_leavings_of_a_crash_are_mended(self, tmp_path: Path) -> None:
        """Half a file from an earlier attempt doesn't survive in the artifact."""
        finished = self._finished(tmp_path)
        whole = finished.backend.collect(finished.ref, tmp_path / "whole")
        into = tmp_path / "torn"
        into.mkdir()
        for name in dict(whole.manifest)["files"]:
            content = (whole.path / name).read_bytes()
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            (into / name).write_bytes(content[: len(content) // 2])
        again = finished.backend.collect(finished.ref, into)
        assert not _problems_of(into), "\n".join(_problems_of(into))
        assert dict(again.manifest)["files"] == dict(whole.manifest)["files"], "halves of files were kept"


def _problems_of(folder: Path) -> list[str]:
    """Check a folder against its manifest, without the backend's own code."""
    try:
        manifest: dict[str, Any] = json.loads((folder / _MANIFEST).read_text())
    except FileNotFoundError:
        return [f"there is no {_MANIFEST}"]
    except ValueError as error:
        return [f"{_MANIFEST} isn't JSON: {error}"]
    listed = manifest.get("files")
    if not isinstance(listed, dict) or not listed:
        return [f"{_MANIFEST} lists no files"]
    files: dict[str, Any] = {str(name): facts for name, facts in listed.items()}
    problems: list[str] = []
    for name, facts in files.items():
        path = folder / name
        if not path.is_file():
            problems.append(f"{name} is in the manifest, but isn't there")
        elif not isinstance(facts, dict) or facts.get("bytes") != path.stat().st_size:
            problems.append(f"{name} has {path.stat().st_size} bytes; the manifest has {facts}")
        elif facts.get("sha256") != hashlib.sha256(path.read_bytes()).hexdigest():
            problems.append(f"{name} doesn't match the SHA-256 in the manifest: {facts}")
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {_MANIFEST}
    problems += [f"{name} is there, but isn't in the manifest" for name in sorted(there - set(files))]
    problems += [
        f"{name} may be a pickle: weights are safetensors" for name in sorted(there) if Path(name).suffix in _PICKLES
    ]
    return problems
