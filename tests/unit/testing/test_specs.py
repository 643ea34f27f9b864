from __future__ import annotations

import subprocess
import sys

import pytest

import ftsdk.testing
from ftsdk.errors import SpecError
from ftsdk.spec import DPO, DoRA, EarlyStopping, JobSpec, LoRA, set_fields
from ftsdk.spec.job import JobFields
from ftsdk.testing import a_dataset, a_spec, field_samples, optional_fields, spec_with
from ftsdk.testing import specs as specs_module
from ftsdk.testing.specs import members_of


def test_the_public_names_are_there() -> None:
    assert len(set(ftsdk.testing.__all__)) == len(ftsdk.testing.__all__)
    assert all(getattr(ftsdk.testing, name) is not None for name in ftsdk.testing.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = ftsdk.testing.Nothing


def test_the_fakes_load_neither_pytest_nor_torch() -> None:
    code = (
        "import sys, ftsdk.testing; print([name for name in ('pytest', 'torch', 'transformers', 'datasets', 'jinja2') "
        "if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_a_spec_sets_nothing_that_is_optional() -> None:
    assert set(set_fields(a_spec())) == {"model.id", "train.fingerprint", "train.format", "train.rows", "train.name"}


def test_a_spec_brings_the_data_that_its_method_needs() -> None:
    assert a_spec().train.format == "chat"
    assert a_spec(method=DPO()).train.format == "preference"


def test_datasets_of_other_names_have_other_rows() -> None:
    datasets = [a_dataset(), a_dataset("b"), a_dataset(rows=7), a_dataset(data_format="preference")]
    assert len({data.fingerprint for data in datasets}) == len(datasets)
    assert a_dataset() == a_dataset()


def test_every_field_that_can_be_set_has_samples() -> None:
    written = set(JobSpec.model_fields) - {"name", "model", "train", "method", "tuning"}
    assert {path for path in optional_fields() if "." not in path} == written
    for union in ("method", "tuning"):
        for kind, member in members_of(union).items():
            found = {sample.path for sample in field_samples() if kind in (sample.method, sample.tuning)}
            found = {path for path in found if path.count(".") == 1}
            assert found == {f"{union}.{name}" for name in member.model_fields if name != "kind"}


@pytest.mark.parametrize("sample", field_samples(), ids=str)
def test_the_two_values_of_a_field_make_two_specs(sample) -> None:
    method = {} if sample.method is None else {"method": members_of("method")[sample.method]()}
    base = a_spec(validation=a_dataset("validation")) if sample.needs_validation else a_spec(**method)
    first, second = (
        spec_with(sample.path, value, base=base, method=sample.method, tuning=sample.tuning) for value in sample.values
    )
    assert first != second
    asked = {path for path in set_fields(first) if path == sample.path or path.startswith(f"{sample.path}.")}
    assert asked, f"{sample.path} isn't set by its first value"
    # A field of a part, such as `method.privacy.max_grad_norm`, needs the rest of the part.
    part = sample.path.rpartition(".")[0]
    others = {
        path
        for path in set(set_fields(first)) - asked - set(set_fields(base))
        if part.count(".") == 0 or not path.startswith(f"{part}.")
    }
    assert not others, f"{others} were set besides"


def test_a_new_field_without_samples_is_shouted_about(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {path: pair for path, pair in specs_module._VALUES.items() if path != "packing"}
    monkeypatch.setattr(specs_module, "_VALUES", values)
    with pytest.raises(LookupError, match="the field 'packing' of JobSpec is new here"):
        field_samples()


def test_samples_for_a_field_that_is_no_more_are_shouted_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(specs_module, "_VALUES", {**specs_module._VALUES, "lora_rank": (1, 2)})
    with pytest.raises(LookupError, match=r"fields that are no more: .*lora_rank"):
        field_samples()


def test_one_field_is_set_and_the_others_stay() -> None:
    base = a_spec(seed=7, tuning=DoRA(rank=4))
    spec = spec_with("tuning.dropout", 0.0, base=base, tuning="dora")
    assert spec.tuning == DoRA(rank=4, dropout=0.0)
    assert spec.seed == 7
    assert spec_with("tuning.dropout", 0.0, base=base, tuning="lora").tuning == LoRA(dropout=0.0)


def test_a_field_of_a_value_that_is_not_there_brings_it() -> None:
    spec = spec_with("early_stopping.patience", 5, base=a_spec(validation=a_dataset("validation")))
    assert spec.early_stopping == EarlyStopping(patience=5)


def test_an_impossible_field_is_refused() -> None:
    with pytest.raises(SpecError, match="did you mean 'seed'"):
        spec_with("sead", 7)
    with pytest.raises(SpecError, match="needs validation data"):
        spec_with("eval_steps", 7)


def test_job_and_spec_share_their_fields() -> None:
    assert set(JobFields.model_fields) < set(JobSpec.model_fields)
