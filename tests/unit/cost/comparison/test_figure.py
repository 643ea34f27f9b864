"""The picture of a crossover: every label inside, none over another."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ftsdk.cost import Api, PriceBook, Quality, SelfHosted, Workload, crossover
from ftsdk.cost.comparison import figure
from ftsdk.cost.comparison.figure import _spread, title  # pyright: ignore[reportPrivateUsage]

matplotlib = pytest.importorskip("matplotlib", reason="the extra 'cost' isn't installed")
pytest.importorskip("genai_prices", reason="the extra 'cost' isn't installed")

BOOK = PriceBook.load(today=date(2026, 11, 27))
L4 = SelfHosted(model="mistralai/Mistral-7B-Instruct-v0.3", gpu="L4", provider="runpod", replicas=2)
LONG = "fireworks/accounts/fireworks/models/some-very-long-model-name-instruct-2026-11-01"
MAILS = Workload(requests_per_month=2e6, input_tokens=900, output_tokens=60, peak_to_mean=4)
SEVERAL = ("openai/gpt-4o", "openai/gpt-4o-mini", "google/gemini-3.8-flash", "together/Qwen/Qwen3.5-9B")

CASES: dict[str, dict[str, Any]] = {
    "usual": {"other_apis": ["openai/gpt-6-luna"]},
    "few requests": {"workload": MAILS.replace(requests_per_month=300.0), "api": "openai/gpt-4o"},
    "large": {
        "workload": MAILS.replace(requests_per_month=6e7),
        "self_hosted": SelfHosted(model="meta-llama/Llama-3.3-70B-Instruct", gpu="H100", provider="runpod"),
        "api": "openai/gpt-4o",
    },
    "long name": {"api": Api(model=LONG, input_usd_per_mtok=Decimal(2), output_usd_per_mtok=Decimal(8))},
    "several APIs": {
        "api": "anthropic/claude-opus-5-5",
        "other_apis": SEVERAL,
        "quality": Quality(api_accepted=0.9, own_accepted=0.85, rejected="review", review_usd=Decimal("0.5")),
    },
}


def answer(name: str) -> Any:
    given: dict[str, Any] = {"workload": MAILS, "api": "anthropic/claude-haiku-4-5", "self_hosted": L4, "training": 4}
    return crossover(**{**given, **CASES[name]}, scenarios=300, book=BOOK)


@pytest.mark.parametrize("name", CASES)
def test_every_label_is_inside_the_picture(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *_args, **_given: drawn.append(self))
    figure.draw(answer(name), tmp_path / "x.png")
    (made,) = drawn
    made.canvas.draw()
    width, height = made.bbox.width, made.bbox.height
    every: list[Any] = list(made.axes)
    texts: list[Any] = [one for axes in every for one in (axes.title, axes._left_title, *axes.texts)]
    for text in [*made.texts, *texts]:
        if text.get_text():
            box = text.get_window_extent()
            assert box.x0 >= -1, text.get_text()
            assert box.x1 <= width + 1, text.get_text()
            assert box.y0 >= -1, text.get_text()
            assert box.y1 <= height + 1, text.get_text()
    names = [one for one in every[0].texts if one.get_weight() == "bold"]
    boxes = sorted((one.get_window_extent() for one in names), key=lambda box: box.y0)
    assert all(below.y1 <= above.y0 + 1 for below, above in pairwise(boxes))
    assert len({one.get_color() for one in names}) == len(names)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
@example([1.0, 1.0, 1.0, 1.0, 0.84375])
def test_names_are_spread_apart_in_order_and_inside(heights: list[float]) -> None:
    placed = _spread(sorted(heights), least=0.045)
    assert len(placed) == len(heights)
    assert all(above - below >= 0.045 - 1e-9 for below, above in pairwise(placed))
    assert placed[0] >= -1e-9
    assert placed[-1] <= 1 + 1e-9


def test_the_title_compares_the_api_with_self_hosting_alone() -> None:
    assert title(answer("several APIs")).endswith("is cheaper than self-hosting at every volume")


@pytest.mark.parametrize("name", CASES)
def test_the_answer_has_at_most_ten_lines(name: str) -> None:
    assert len(str(answer(name)).splitlines()) <= 10
