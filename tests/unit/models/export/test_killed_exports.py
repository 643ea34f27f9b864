"""Exports that are killed at any moment: nothing half is ever taken for whole, and the next one cleans up."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ftsdk import ModelError, SpecError
from ftsdk.deploy.servers.exported import exported_model
from ftsdk.errors import CorruptArtifactError
from ftsdk.models.export import check_servable, export_model, read_export
from ftsdk.models.export.draft import export_draft

pytest.importorskip("peft", reason="the extra 'local' isn't installed")
pytest.importorskip("gguf", reason="the extra 'export' isn't installed")

EXPORT = """\
import sys
from ftsdk import Model
from ftsdk.models.export import export_model
from ftsdk.models.export.gguf_files import write_gguf

base, adapter, into = sys.argv[1:]
print("ready", flush=True)
for number in range(1000):
    export_model(Model(id=base, adapter=adapter), f"{into}/merged-{number}", to="merged", prove=False)
    export_model(Model(id=base, adapter=adapter), f"{into}/gguf-{number}", to="gguf", quantization="q8_0", prove=False)
    write_gguf(Model(id=base, adapter=adapter), f"{into}/plain-{number}.gguf", "f16")
"""


def drafts(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("times", [2, pytest.param(25, marks=pytest.mark.slow)])
def test_a_killed_export_is_whole_or_refused(times: int, make_adapter: Any, tmp_path: Path) -> None:
    from ftsdk.models.headers import read_gguf_header

    model, chance = make_adapter(), random.Random(0)
    for number in range(times):
        into = tmp_path / str(number)
        into.mkdir()
        command = [sys.executable, "-c", EXPORT, model.id, str(model.adapter), str(into)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, env=dict(os.environ))
        assert process.stdout is not None
        process.stdout.readline()
        while not any(into.iterdir()):
            time.sleep(0.001)
        time.sleep(chance.random() * 0.8)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        for path in into.iterdir():
            if path.name.startswith("."):
                if path.is_dir() and not (path / "manifest.json").exists():
                    with pytest.raises((ModelError, CorruptArtifactError)):
                        exported_model(path)
            elif path.is_dir():
                assert read_export(path)["state"] == "unproven"
                assert exported_model(path).id.startswith(str(path))
            else:
                assert read_gguf_header(path).tensor_names
        left = drafts(into)
        for target in {path.name.removeprefix(".").rsplit(".", 2)[0] for path in left if path.is_dir()}:
            export_model(model, into / target, to="merged", prove=False)
        assert not [path for path in drafts(into) if path.is_dir()]


def test_the_draft_of_an_export_that_runs_stays(tmp_path: Path) -> None:
    folder = tmp_path / "out [1]"
    with export_draft(folder) as running:
        with export_draft(folder) as second:
            assert running.is_dir()
            assert second != running
            second.rename(folder)
        assert (running / "EXPORT-UNFINISHED.txt").is_file()
    assert folder.is_dir()


def test_a_draft_is_removed_by_what_breaks_it_off(tmp_path: Path) -> None:
    with pytest.raises(SpecError), export_draft(tmp_path / "out"):
        raise SpecError("no")
    assert list(tmp_path.iterdir()) == []


def test_only_the_drafts_of_the_same_folder_are_removed(tmp_path: Path) -> None:
    for name in (".out.0123.tmp", ".other.0123.tmp", ".out.mine.tmp"):
        (tmp_path / name).mkdir()
        if name != ".out.mine.tmp":
            (tmp_path / name / "EXPORT-UNFINISHED.txt").touch()
    with export_draft(tmp_path / "out") as draft:
        draft.rename(tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.0123.tmp", ".out.mine.tmp", "out"]


def test_a_report_names_the_model_and_no_folder_of_this_machine(make_adapter: Any, tmp_path: Path) -> None:
    model = make_adapter()
    export = export_model(model, tmp_path / "out", to="merged", prove=False)
    assert str(Path(model.id).parent) not in export.model
    assert str(Path(model.id).parent) not in export.parity.reference
    assert Path(model.id).name in export.model
    assert check_servable(tmp_path / "out")["base"] == Path(model.id).name
