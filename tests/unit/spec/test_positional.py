"""Arguments without a name are answered with what to write."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import pytest

import ftsdk
import ftsdk.cost
import ftsdk.testing
from ftsdk import DPO, SFT, Dataset, EarlyStopping, FineTuneJob, FullFineTune, Local, LoRA, Model
from ftsdk.errors import SpecError
from ftsdk.spec import Value
from ftsdk.spec.positional import by_name_only


@pytest.mark.parametrize(
    ("kind", "value", "written"),
    [
        (LoRA, 8, "LoRA(rank=8)"),
        (DPO, 0.1, "DPO(beta=0.1)"),
        (SFT, "completion", "SFT(train_on='completion')"),
        (EarlyStopping, 3, "EarlyStopping(patience=3)"),
        (Model, "org/name", "Model(id='org/name')"),
        (FineTuneJob, "org/name", "FineTuneJob(model='org/name')"),
        (FullFineTune, 8, "FullFineTune()"),
        (Local, "cpu", "Local("),
    ],
)
def test_an_argument_without_a_name_is_answered_with_its_name(kind: Any, value: object, written: str) -> None:
    with pytest.raises(SpecError) as caught:
        kind(value)
    assert written in str(caught.value)


def test_a_key_without_a_name_is_not_repeated() -> None:
    with pytest.raises(SpecError) as caught:
        ftsdk.Together("tgp_v1_" + "a1b2c3d4" * 5)  # type: ignore[call-arg, misc]  # pyright: ignore[reportCallIssue]
    assert "a1b2c3d4" not in str(caught.value)


def test_every_public_type_with_named_arguments_answers_so() -> None:
    found: list[str] = []
    for module in (ftsdk, ftsdk.cost, ftsdk.testing):
        for name in dir(module):
            kind: Any = None if name.startswith("_") else getattr(module, name)
            if not inspect.isclass(kind) or issubclass(kind, BaseException):
                continue
            parameters = list(inspect.signature(kind).parameters.values())
            by_name = [one for one in parameters if one.kind is one.KEYWORD_ONLY]
            if not (issubclass(kind, Value) or (by_name and len(by_name) == len(parameters))):
                continue
            with pytest.raises(SpecError, match="takes"):
                kind(object())  # pyright: ignore[reportCallIssue]
            found.append(name)
    assert {"LoRA", "Eval", "Local", "Modal", "Together", "SelfHosted", "RunRef"} <= set(found)


def test_values_are_still_copied_and_pickled() -> None:
    job = FineTuneJob(
        model="org/name", train=Dataset.from_rows([{"prompt": "a", "completion": "b"}]), tuning=LoRA(rank=4)
    )
    assert pickle.loads(pickle.dumps(job.tuning)) == copy.copy(job.tuning) == job.tuning
    assert "given" not in inspect.signature(LoRA).parameters


def test_a_class_keeps_its_signature() -> None:
    @by_name_only
    class Pair:
        def __init__(self, *, left: int, right: int = 0) -> None:
            self.sum = left + right

    assert Pair(left=1, right=2).sum == 3
    assert list(inspect.signature(Pair).parameters) == ["left", "right"]


@pytest.mark.parametrize("changes", [{"backend": None}, {"backend": 3}, {"model": 3}, {"model": None}])
def test_a_wrong_type_is_one_problem(changes: dict[str, Any]) -> None:
    rows = Dataset.from_rows([{"prompt": "a", "completion": "b"}])
    with pytest.raises(SpecError) as caught:
        FineTuneJob(**{"model": "org/name", "train": rows, **changes})
    assert [problem.path for problem in caught.value.problems] == list(changes)
    assert str(caught.value).count(" got ") == 1
