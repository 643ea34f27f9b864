"""Another trainer comes in by an entry point, trains on a built-in backend, and is kept with the run."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from installed_plugin import install

from ftsdk import Dataset, FineTuneJob, Local, Modal, Run, UnsupportedSpecError
from ftsdk.backends.registry import get_backend
from ftsdk.errors import SpecError
from ftsdk.run.ledger import Ledger

HERE = Path(__file__).parent


@pytest.fixture
def osprey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trainer, installed for this process and for workers."""
    site = tmp_path / "site"
    install(HERE / "ftsdk-osprey", ["ftsdk_osprey"], site=site)
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=":")


def a_job(model: Path, **changes: Any) -> FineTuneJob:
    rows = Dataset.from_rows([{"q": f"q{n}", "a": "a"} for n in range(5)]).as_chat(prompt="{q}", completion="{a}")
    return FineTuneJob(model=str(model), train=rows, backend=Local(device="cpu", trainer="osprey"), **changes)


@pytest.mark.usefixtures("osprey")
def test_a_run_trains_with_the_trainer_that_was_asked_for(model_of_headers: Path) -> None:
    plan = a_job(model_of_headers).plan()
    assert plan.request["trainer"] == "osprey"
    run = a_job(model_of_headers).submit()
    run.wait(progress=False, poll_s=0.05)
    assert [e.step for e in run.events() if e.kind == "step"] == [1, 2, 3, 4, 5]
    assert run.collect().manifest["info"]["rows"] == 5


@pytest.mark.usefixtures("osprey")
def test_an_opened_run_keeps_its_trainer(model_of_headers: Path) -> None:
    run = a_job(model_of_headers).submit()
    again = Run.open(run.ref)
    kept = Ledger().get(again.ref).options
    assert kept["trainer"] == "osprey"
    assert get_backend("local", kept).capabilities.fields == {"seed"}
    run.wait(progress=False, poll_s=0.05)


@pytest.mark.usefixtures("osprey")
def test_what_the_trainer_does_not_offer_is_refused(model_of_headers: Path) -> None:
    with pytest.raises(UnsupportedSpecError, match="learning_rate"):
        a_job(model_of_headers, learning_rate=1e-4).plan()


def test_an_unknown_trainer_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(SpecError, match="unknown trainer 'trll'; did you mean 'trl'"):
        Local(trainer="trll")


def test_the_default_trainer_is_not_written_down() -> None:
    assert "trainer" not in Local(device="cpu").options
    assert get_backend("local", {"device": "cpu", "trainer": "trl"}).options == Local(device="cpu").options


@pytest.mark.usefixtures("osprey")
def test_a_container_gets_the_package_that_the_trainer_comes_in(model_of_headers: Path) -> None:
    pytest.importorskip("modal", reason="the extra 'modal' isn't installed")
    plan = a_job(model_of_headers).replace(backend=Modal(gpu="cpu", trainer="osprey")).plan()
    assert "ftsdk-osprey==0.1.0" in plan.request["launch"]["image"]["packages"]
    assert plan.request["trainer"] == "osprey"


@pytest.mark.usefixtures("osprey")
def test_a_trainer_object_is_kept_by_its_name(model_of_headers: Path) -> None:
    trainer = import_module("ftsdk_osprey").OspreyTrainer()
    backend = Local(device="cpu", trainer=trainer)
    assert backend.options["trainer"] == "osprey"
    assert a_job(model_of_headers).replace(backend=backend).plan() == a_job(model_of_headers).plan()


@pytest.mark.usefixtures("osprey")
def test_a_trainer_object_that_a_worker_could_not_build_is_refused() -> None:
    trainer_class = import_module("ftsdk_osprey").OspreyTrainer

    class Unregistered(trainer_class):
        name = "unregistered"

    class SameName(trainer_class):
        pass

    changed = trainer_class()
    changed.name = "osprey"
    for trainer, words in (
        (Unregistered(), r"Unregistered\(\.\.\.\) isn't installed"),
        (SameName(), "OspreyTrainer is installed"),
        (changed, "settings of its own, which would be lost"),
        (object(), r"object\(\.\.\.\) isn't installed"),
    ):
        with pytest.raises(SpecError, match=words):
            Local(trainer=trainer)
