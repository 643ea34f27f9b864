"""Rows are tokenised once: by the first attempt, for later ones, and for other runs of the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra 'local' isn't installed")
from ftsdk import DPO, SFT, Dataset, Model
from ftsdk.backends.trainers.trl.rows import Rows, read_rows, tokens_of
from ftsdk.data.store import Store
from ftsdk.errors import DatasetError
from ftsdk.models import load_tokenizer, rendering_options


class Worker:
    """What reads the rows of a run in its folder."""

    def __init__(self, folder: Path, model: Path, data: Dataset, *, shared: Path | None = None) -> None:
        self.messages: list[str] = []
        self._model = Model(id=str(model))
        self._tokenizer = load_tokenizer(self._model)
        self._path = folder / "train.arrow"
        folder.mkdir(exist_ok=True)
        self._path.write_bytes(Store(folder / "store").put(data).read_bytes())
        self._options = {"fingerprint": data.fingerprint, "shared": shared}

    def read(self, **options: Any) -> Rows:
        self.messages = []
        chosen: dict[str, Any] = {"method": SFT(), "max_length": None, "max_truncated": 0.0, **self._options, **options}
        limit = chosen.pop("max_length")
        rendering = rendering_options(self._model, self._tokenizer, max_length=limit)
        return read_rows(self._path, self._tokenizer, on_message=self.messages.append, **chosen, **rendering)


@pytest.fixture
def data() -> Dataset:
    rows = [{"text": f"message {n} " * (1 + n % 5), "label": "ab"[n % 2]} for n in range(2100)]
    return Dataset.from_rows(rows).as_chat(prompt="Sort: {text}", completion="{label}")


def test_a_second_attempt_reads_what_the_first_has_made(tiny_model: Path, tmp_path: Path, data: Dataset) -> None:
    worker = Worker(tmp_path / "run", tiny_model, data)
    first = worker.read()
    assert worker.messages == ["tokenising 2,100 rows"]
    again = worker.read()
    assert worker.messages == ["2,100 rows were tokenised before"]
    assert again.report == first.report
    assert again.dataset.to_dict() == first.dataset.to_dict()
    assert len(first.dataset) == 2100
    assert tokens_of(first.dataset, "input_ids")[2099] == first.dataset[2099]["input_ids"]


def test_another_run_of_the_same_rows_reads_them_too(tiny_model: Path, tmp_path: Path, data: Dataset) -> None:
    shared = tmp_path / "shared"
    Worker(tmp_path / "one", tiny_model, data, shared=shared).read()
    other = Worker(tmp_path / "two", tiny_model, data, shared=shared)
    other.read(is_alone=False)
    assert other.messages == ["2,100 rows were tokenised before"]


@pytest.mark.parametrize("change", ["max_length", "train_on"])
def test_other_settings_are_other_rows(tiny_model: Path, tmp_path: Path, data: Dataset, change: str) -> None:
    worker = Worker(tmp_path / "run", tiny_model, data)
    first = worker.read()
    changes: dict[str, Any] = {"max_length": {"max_length": 500}, "train_on": {"method": SFT(train_on="all")}}
    other = worker.read(**changes[change])
    assert worker.messages == ["tokenising 2,100 rows"]
    assert (other.dataset.to_dict() == first.dataset.to_dict()) is (change == "max_length")


def test_a_damaged_file_is_made_again(tiny_model: Path, tmp_path: Path, data: Dataset) -> None:
    worker = Worker(tmp_path / "run", tiny_model, data)
    first = worker.read().dataset.to_dict()
    (file,) = (tmp_path / "run" / "tokens").glob("*.arrow")
    file.write_bytes(file.read_bytes()[:-1])
    assert worker.read().dataset.to_dict() == first
    assert worker.messages == ["tokenising 2,100 rows"]


def test_rows_that_lose_too_much_are_refused_each_time(tiny_model: Path, tmp_path: Path, data: Dataset) -> None:
    worker = Worker(tmp_path / "run", tiny_model, data)
    worker.read(max_length=24, max_truncated=1.0)
    for _ in range(2):
        with pytest.raises(DatasetError, match="lose trained tokens"):
            worker.read(max_length=24, max_truncated=0.0)


def test_pairs_are_kept_too(tiny_model: Path, tmp_path: Path) -> None:
    rows = [{"q": f"question {n}", "good": "yes", "bad": "no no"} for n in range(8)]
    pairs = Dataset.from_rows(rows).as_preference(prompt="{q}", chosen="{good}", rejected="{bad}")
    worker = Worker(tmp_path / "run", tiny_model, pairs)
    first = worker.read(method=DPO())
    assert worker.read(method=DPO()).dataset.to_dict() == first.dataset.to_dict()
    assert set(first.dataset.column_names) == {"prompt_ids", "chosen_ids", "rejected_ids"}
