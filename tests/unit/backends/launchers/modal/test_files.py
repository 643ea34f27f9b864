"""The files of a run on a Volume, which is committed while the worker writes."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("modal", reason="the extra 'modal' isn't installed")

from ftsdk.backends.launchers.modal.files import VolumeFiles
from ftsdk.backends.launchers.modal.volume import Volume
from ftsdk.testing.modal import ModalService


class Waits:
    """A clock that moves by waiting, and what happens meanwhile."""

    def __init__(self, volume: Volume, *, manifest_at_s: float) -> None:
        self.now = 1_000.0
        self._volume, self._manifest_at = volume, self.now + manifest_at_s

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.now >= self._manifest_at:
            self._volume.upload({"runs/r/artifact/manifest.json": b"{}"})


@pytest.mark.parametrize(("manifest_at_s", "is_there"), [(2, True), (60, False)])
def test_weights_that_a_commit_lacks_are_waited_for_but_not_for_ever(
    modal_service: ModalService, tmp_path: Path, manifest_at_s: float, is_there: bool
) -> None:
    volume = Volume("ftsdk", environment=None)
    volume.upload({"runs/r/artifact/weights": b"w"})
    waits = Waits(volume, manifest_at_s=manifest_at_s)

    VolumeFiles(volume, "runs/r", {}, clock=lambda: waits.now, sleep=waits.sleep).fetch("artifact", tmp_path / "into")

    assert (tmp_path / "into" / "manifest.json").exists() is is_there
    assert waits.now <= 1_011
