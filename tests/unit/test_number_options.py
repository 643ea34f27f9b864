"""Numbers that are options: none of them may be NaN, infinite, negative, a truth value or text."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import ftsdk
import ftsdk.cost
from ftsdk import FtsdkError, Local, Modal, Together
from ftsdk.spec import Value
from ftsdk.testing import ScriptedBackend

WRONG = (math.nan, math.inf, -math.inf, -1, True, "x", Decimal("NaN"))


def _values() -> Iterator[tuple[type[Value], str]]:
    for module in (ftsdk, ftsdk.cost):
        for name in dir(module):
            kind: Any = None if name.startswith("_") else getattr(module, name)
            if inspect.isclass(kind) and issubclass(kind, Value):
                for field, one in kind.model_fields.items():
                    if re.search(r"\b(float|int|Decimal)\b", str(one.annotation)) and field != "growth_per_year":
                        yield kind, field


@pytest.mark.parametrize(("kind", "field"), [pytest.param(*one, id=f"{one[0].__name__}.{one[1]}") for one in _values()])
@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf, "x"])
def test_a_field_refuses_what_is_no_number(kind: type[Value], field: str, wrong: object) -> None:
    if wrong == "x" and "str" in str(kind.model_fields[field].annotation):
        pytest.skip("it also takes text")
    with pytest.raises(FtsdkError) as caught:
        kind(**{field: wrong})
    assert f"{field}" in str(caught.value)
    assert "is required" not in re.findall(rf"^  {field}[^\n]*", str(caught.value), re.MULTILINE)[0]


@pytest.mark.parametrize("backend", [Local, Modal, Together])
def test_a_backend_refuses_what_is_no_number(backend: Any) -> None:
    options = [
        name
        for name, one in inspect.signature(backend).parameters.items()
        if re.match(r"(Decimal \| )?(float|int)\b", str(one.annotation))
    ]
    assert options
    for name in options:
        for wrong in WRONG:
            with pytest.raises(FtsdkError, match=name):
                backend(**{name: wrong})


@pytest.mark.parametrize("wrong", WRONG)
def test_a_scripted_backend_refuses_what_is_no_cost(wrong: Any, tmp_path: Path) -> None:
    with pytest.raises(FtsdkError, match="cost_usd"):
        ScriptedBackend(root=tmp_path, cost_usd=(1, wrong, 3))


@pytest.mark.parametrize("wrong", WRONG)
def test_an_estimate_refuses_what_is_no_price(wrong: Any) -> None:
    rows = ftsdk.Dataset.from_rows([{"prompt": "a", "completion": "b"}])
    with pytest.raises(FtsdkError, match="usd_per_hour"):
        ftsdk.FineTuneJob(model="org/name", train=rows).estimate(usd_per_hour=wrong)
