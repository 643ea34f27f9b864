"""The job as a value and as a file, and what is refused before anything is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ftsdk import (
    DPO,
    BackendError,
    BudgetExceededError,
    Dataset,
    DatasetError,
    Eval,
    FineTuneJob,
    Local,
    LoRA,
    Model,
    ModelError,
    Run,
    SpecError,
    runs,
)
from ftsdk.protocol import RunRef, RunStatus
from ftsdk.testing import ScriptedBackend


@pytest.fixture
def mails(tmp_path: Path) -> Path:
    path = tmp_path / "mails.csv"
    path.write_text("text,label\n" + "".join(f"mail number {n},{'ab'[n % 2]}\n" for n in range(40)), encoding="utf-8")
    return path


@pytest.fixture
def model(model_of_headers: Path) -> Path:
    return model_of_headers


def job_of(mails: Path, folder: Path, **changes: Any) -> FineTuneJob:
    train, validation, test = (
        Dataset.from_file(mails).as_chat(prompt="{text}", completion="{label}").split(validation=0.2, test=0.2, seed=1)
    )
    fields: dict[str, Any] = {
        "model": str(folder),
        "train": train,
        "validation": validation,
        "tuning": LoRA(rank=8),
        "epochs": 2,
        "evals": [Eval.exact_match(test, name="accuracy")],
        "backend": Local(device="cpu"),
        "budget_usd": 20,
    }
    return FineTuneJob(**{**fields, **changes})


def test_a_job_survives_yaml_and_a_move_of_its_folder(mails: Path, model: Path, tmp_path: Path) -> None:
    job = job_of(mails, model)
    file = tmp_path / "job.yaml"
    job.to_yaml(file)
    again = FineTuneJob.from_yaml(file)
    assert again.spec() == job.spec()
    assert again.to_dict() == job.to_dict()
    assert again.evals[0].data.fingerprint == job.evals[0].data.fingerprint
    assert again.plan() == job.plan()


def test_a_job_file_fits_its_schema_and_a_typo_does_not(mails: Path, model: Path, tmp_path: Path) -> None:
    schema = FineTuneJob.json_schema()
    written = job_of(mails, model).to_dict(base=tmp_path)
    jsonschema.validate(written, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**written, "epoch": 3}, schema)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"epoch": 3}, "unknown option 'epoch'; did you mean 'epochs'"),
        ({"tuning": {"kind": "lora", "rnak": 3}}, "tuning.rnak: unknown option 'rnak'; did you mean 'rank'"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": "16"}, "batch_size"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"train": {"file": "mails.csv", "chatt": {}}}, "did you mean 'chat'"),
        ({"backend": "lokal"}, "did you mean 'local'"),
        ({"evals": [{"kind": "exact_mtach", "data": {"file": "mails.csv"}}]}, "exact_match"),
    ],
)
def test_a_wrong_job_file_is_one_clear_error_and_nothing_is_written(
    mails: Path, model: Path, tmp_path: Path, ftsdk_home: Path, change: dict[str, Any], said: str
) -> None:
    data = {**job_of(mails, model).to_dict(base=tmp_path), **change}
    with pytest.raises(SpecError, match=said.replace("(", r"\(")):
        FineTuneJob.from_dict(data, base=tmp_path).submit()
    assert not (ftsdk_home / "runs").exists()
    assert not (ftsdk_home / "ledger.sqlite").exists()


def test_yaml_that_is_no_yaml_says_where(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("model: [unclosed\ntrain: x\n")
    with pytest.raises(SpecError, match=r"job\.yaml:2:6: invalid YAML"):
        FineTuneJob.from_yaml(file)
    with pytest.raises(SpecError, match="there is no job file"):
        FineTuneJob.from_yaml(tmp_path / "other.yaml")


def test_rows_that_are_still_a_table_are_refused_with_the_way_out(mails: Path, model: Path) -> None:
    with pytest.raises((SpecError, DatasetError), match="as_chat"):
        FineTuneJob(model=str(model), train=Dataset.from_file(mails))


def test_preference_rows_given_to_sft_say_what_to_use(model: Path) -> None:
    pairs = Dataset.from_rows([{"q": f"q{n}", "good": "yes", "bad": "no"} for n in range(4)]).as_preference(
        prompt="{q}", chosen="{good}", rejected="{bad}"
    )
    with pytest.raises(SpecError, match="DPO"):
        FineTuneJob(model=str(model), train=pairs).plan()
    assert (
        FineTuneJob(model=str(model), train=pairs, method=DPO(), backend=Local(device="cpu")).plan().spec.train.format
        == "preference"
    )


def test_a_folder_without_weights_and_one_with_pickles_only_are_refused(
    mails: Path, tmp_path: Path, ftsdk_home: Path
) -> None:
    for name, said in ((None, "without weights|no weights"), ("pytorch_model.bin", "safetensors")):
        folder = tmp_path / f"broken-{name}"
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        if name:
            (folder / name).write_bytes(b"\x80\x04.")
        with pytest.raises(ModelError, match=said):
            job_of(mails, folder).submit()
    assert not (ftsdk_home / "ledger.sqlite").exists()


def test_a_run_that_could_cost_more_than_its_budget_is_not_started(
    mails: Path, model: Path, tmp_path: Path, ftsdk_home: Path
) -> None:
    backend = ScriptedBackend(root=tmp_path / "place", cost_usd=(10, 15, 25))
    with pytest.raises(BudgetExceededError, match=r"up to \$25\.00 .*budget_usd=20"):
        job_of(mails, model, backend=backend).submit()
    assert not (ftsdk_home / "ledger.sqlite").exists()


def test_a_scripted_run_goes_from_submit_to_the_end(mails: Path, model: Path, tmp_path: Path) -> None:
    backend = ScriptedBackend(root=tmp_path / "place")
    run = job_of(mails, model, backend=backend).submit()
    slept: list[float] = []
    run.wait(progress=False, sleep=slept.append)
    assert run.status().state == "succeeded"
    assert slept
    again = Run.open(run.ref, backend=backend)
    assert again.plan == run.plan
    assert again.collect(tmp_path / "weights").kind in ("adapter", "model")


def test_a_run_with_a_lost_submission_is_submitted_under_the_same_key(mails: Path, model: Path, tmp_path: Path) -> None:
    from ftsdk.errors import BackendError

    class Deaf(ScriptedBackend):
        def submit(self, plan: Any, *, key: str) -> Any:
            ref = super().submit(plan, key=key)
            raise BackendError(f"the answer for {ref} was lost", retryable=True)

    with pytest.raises(BackendError, match="lost"):
        job_of(mails, model, backend=Deaf(root=tmp_path / "place")).submit()
    backend = ScriptedBackend(root=tmp_path / "place")
    from ftsdk.run.ledger import Ledger

    (record,) = Ledger().list()
    assert record.submitted_at is None
    run = Run.open(record.ref, backend=backend)
    assert run.status().native == "intended"
    run.wait(progress=False, sleep=lambda _s: None)
    assert run.status().state == "succeeded"


def test_waiting_gives_up_after_its_timeout_and_the_run_goes_on(mails: Path, model: Path, tmp_path: Path) -> None:
    run = job_of(mails, model, backend=ScriptedBackend(root=tmp_path / "place")).submit()
    now = iter(range(0, 1000, 100))
    with pytest.raises(TimeoutError, match="continues in the background"):
        run.wait(progress=False, timeout_s=50, clock=lambda: float(next(now)), sleep=lambda _s: None)
    assert not run.status().is_terminal


class Moody(ScriptedBackend):
    """A place that now and then doesn't answer."""

    def __init__(self, *, root: Path, moods: list[BackendError]) -> None:
        super().__init__(root=root)
        self.moods = moods

    def status(self, ref: RunRef) -> RunStatus:
        if self.moods:
            raise self.moods.pop()
        return super().status(ref)


def test_waiting_goes_on_while_the_place_cannot_be_reached_for_a_moment(
    mails: Path, model: Path, tmp_path: Path
) -> None:
    waits: list[float] = []
    moods = [BackendError("busy", retryable=True, retry_after_s=7.0), BackendError("no answer", retryable=True)]
    run = job_of(mails, model, backend=Moody(root=tmp_path / "place", moods=moods)).submit()
    run.wait(progress=False, sleep=waits.append)
    assert waits[:2] == [1.0, 7.0]
    assert run.last_seen_state == "succeeded"
    assert Run.open(run.ref, backend=ScriptedBackend(root=tmp_path / "place")).status().state == "succeeded"


@pytest.mark.parametrize(
    "mood", [BackendError("it will never do that"), BackendError("nobody is there", retryable=True)]
)
def test_waiting_ends_with_an_error_that_stays_or_that_nothing_can_cure(
    mails: Path, model: Path, tmp_path: Path, mood: BackendError
) -> None:
    run = job_of(mails, model, backend=Moody(root=tmp_path / "place", moods=[mood] * 20)).submit()
    now = iter(range(0, 10_000, 100))
    with pytest.raises(BackendError, match=str(mood)):
        run.wait(progress=False, clock=lambda: float(next(now)), sleep=lambda _s: None)


def test_no_runs_print_as_such() -> None:
    assert str(runs()) == "no runs yet"


def test_a_model_object_keeps_its_fields_in_yaml(mails: Path, model: Path, tmp_path: Path) -> None:
    job = job_of(mails, model, model=Model(id=str(model), trust_remote_code=True))
    assert FineTuneJob.from_dict(job.to_dict(base=tmp_path), base=tmp_path).spec().model.trust_remote_code is True
