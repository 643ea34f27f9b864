"""The notebooks as they are committed: no outputs, clean metadata, cells that run, an install that keeps torch."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
from notebook_files import MODEL, NOTEBOOKS, read_notebook, with_model, without_magics

from ftsdk.testing.tiny import build_tiny_model

ROOT = Path(__file__).parents[2]
NAMES = [path.stem for path in NOTEBOOKS]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_a_notebook_is_committed_without_outputs_and_with_clean_metadata(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    notebook = json.loads(text)
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert notebook["metadata"] == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    for cell in notebook["cells"]:
        assert set(cell["metadata"]) <= {"tags", "jupyter", "cellView"}
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
    # As the writer of the format leaves it, so that a notebook that was only opened and saved makes no diff.
    assert text == json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_no_notebook_names_a_host_or_a_path_of_a_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for foreign in ("http://", "https://", "/home/", "/tmp/", "/content/", "C:\\\\"):
        assert foreign not in text


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_one_cell_installs_and_it_is_the_first(path: Path) -> None:
    code = [cell for cell in read_notebook(path)["cells"] if cell["cell_type"] == "code"]
    installs = [cell for cell in code if "pip" in cell["source"].split("%")[-1] and "%" in cell["source"]]
    assert installs == [code[0]]
    assert code[0]["metadata"]["tags"] == ["install"]
    assert "--constraint keep-torch.txt" in code[0]["source"]
    for cell in code:
        ast.parse(without_magics(cell["source"]))


def run_cells(notebook: dict[str, Any], *, without: set[str]) -> dict[str, Any]:
    """Run a notebook's code without a kernel, and return its names; what ends a cell is shown as a kernel would."""
    names: dict[str, Any] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code" or without & set(cell["metadata"].get("tags", [])):
            continue
        body = ast.parse(without_magics(cell["source"])).body
        last = body.pop() if isinstance(body[-1], ast.Expr) else None
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(ast.Module(body, []), cell["id"], "exec"), names)
            if last is not None:
                value = eval(compile(ast.Expression(last.value), cell["id"], "eval"), names)
                names[f"shown_by_{cell['id']}"] = value._repr_html_() if hasattr(value, "_repr_html_") else value
    return names


def test_the_first_notebook_runs_up_to_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    notebook = read_notebook(ROOT / "examples" / "notebooks" / "first_fine_tune.ipynb")
    assert MODEL in "".join(cell["source"] for cell in notebook["cells"])
    names = run_cells(with_model(notebook, build_tiny_model(tmp_path / "tiny")), without={"trains"})
    assert names["shown_by_data"] == 144
    for cell in ("report", "split", "job", "plan", "estimate"):
        assert "<" in names[f"shown_by_{cell}"], cell
    assert len(names["train"]) == 108


def test_the_second_notebook_runs_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    notebook = read_notebook(ROOT / "examples" / "notebooks" / "decide_and_compare_costs.ipynb")
    for cell in notebook["cells"]:
        # Thousands of scenarios sharpen a probability that nothing here looks at.
        cell["source"] = cell["source"].replace(
            "    retrains_per_year=4,\n    other", "    retrains_per_year=4,\n    scenarios=500,\n    other"
        )
    names = run_cells(notebook, without={"kernel"})
    for cell in ("advice", "job", "together", "plan", "crossover"):
        assert "<" in names[f"shown_by_{cell}"], cell
    assert "Built with Llama" in names["shown_by_plan"]


def write_wheel(folder: Path, name: str, number: str, *metadata: str) -> None:
    info = f"{name}-{number}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{number}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(
            f"{info}/METADATA",
            "\n".join(["Metadata-Version: 2.1", f"Name: {name}", f"Version: {number}", *metadata]) + "\n",
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")


def would_install(folder: Path, *arguments: str) -> list[str]:
    """Return what pip would install, by its own dry run, from the wheels of a folder alone."""
    # No constraints, indexes or options of whoever runs the test.
    env = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--no-index", "--find-links", str(folder),
         "--report", "-", "--disable-pip-version-check", *arguments],
        env={**env, "PIP_CONFIG_FILE": os.devnull},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [item["metadata"]["name"] for item in json.loads(done.stdout)["install"]]


def test_the_install_cell_leaves_the_torch_of_the_machine_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Colab, which comes with torch, while the index has a newer one."""
    try:
        version("torch")
    except PackageNotFoundError:
        pytest.skip("torch isn't installed here, so there is none to keep")
    pytest.importorskip("pip")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    local = [f"Requires-Dist: {one}; extra == 'local'" for one in project["optional-dependencies"]["local"]]
    write_wheel(
        tmp_path,
        "ftsdk",
        "999",
        *(f"Requires-Dist: {one}" for one in project["dependencies"]),
        "Provides-Extra: local",
        *local,
    )
    write_wheel(tmp_path, "torch", "2.999")  # bitsandbytes takes none from 3.0 on
    monkeypatch.chdir(tmp_path)
    cell = read_notebook(ROOT / "examples" / "notebooks" / "first_fine_tune.ipynb")["cells"][1]
    assert '"ftsdk[local]"' in cell["source"]
    exec(without_magics(cell["source"]), {})
    assert f"torch=={version('torch')}" in (tmp_path / "keep-torch.txt").read_text().splitlines()
    # As for users who tell pip to upgrade whatever it can: only the constraints stand between it and the newer torch.
    eager = ("--upgrade", "--upgrade-strategy", "eager", "ftsdk[local]==999")
    assert would_install(tmp_path, "--constraint", "keep-torch.txt", *eager) == ["ftsdk"]
    assert sorted(would_install(tmp_path, *eager)) == ["ftsdk", "torch"]
