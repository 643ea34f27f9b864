from __future__ import annotations

from collections.abc import Iterator

import pytest
from routed_targets import Target


@pytest.fixture
def tuned() -> Iterator[Target]:
    with Target(text="from tuned") as target:
        yield target


@pytest.fixture
def frontier() -> Iterator[Target]:
    with Target(text="from frontier") as target:
        yield target
