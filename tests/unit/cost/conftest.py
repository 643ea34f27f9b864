from __future__ import annotations

from pathlib import Path

import pytest
from prices import TODAY

from ftsdk.cost import PriceBook


@pytest.fixture
def book(ftsdk_home: Path) -> PriceBook:
    """The packaged prices alone, on a fixed day."""
    return PriceBook.load(today=TODAY)
