"""A dataset that is nothing more than what an eval needs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Rows:
    """Rows in memory; fits `EvalData`."""

    rows: list[dict[str, Any]]
    format: str = "chat"
    name: str = "test.jsonl"
    fingerprint: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "fingerprint", hashlib.sha256(json.dumps(self.rows).encode()).hexdigest())

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def to_dict(self, base: Path | None = None) -> dict[str, Any]:
        return {"rows": self.rows, "base": str(base)}


MakeRows = Callable[..., Rows]


@pytest.fixture
def make_rows() -> MakeRows:
    """Build chat rows from (question, answer) pairs."""

    def make(*pairs: tuple[str, str], **options: Any) -> Rows:
        rows = [
            {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": right}]}
            for asked, right in pairs
        ]
        return Rows(rows, **options)

    return make
