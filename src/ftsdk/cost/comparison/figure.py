"""The picture for a slide: cost over volume with its crossings, and what matters."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftsdk._format import money
from ftsdk.cost.comparison.answer_text import volume
from ftsdk.errors import MissingExtraError, SpecError

if TYPE_CHECKING:
    from ftsdk.cost.comparison.answer import CrossingPoint, CrossoverAnswer, OptionCost

__all__ = ["draw", "title"]

_COLOURS = {"api": "#c2410c", "self-hosted": "#1d4ed8", "dedicated": "#7c3aed", "serverless": "#0f766e"}
_OTHER = ("#be185d", "#ca8a04", "#57534e", "#0369a1", "#65a30d", "#9f1239", "#334155")
_ENDINGS = (".svg", ".png", ".pdf")
_GREY = "#475569"
_LONGEST_NAME = 24
_TITLE_WIDTH = 78
"""Characters of a line of the title."""


def draw(answer: CrossoverAnswer, path: Path) -> Path:
    """Write the picture.

    Raises:
        MissingExtraError: matplotlib isn't installed.
        SpecError: The ending isn't one of a picture, or the file can't be written.
    """
    if path.suffix.lower() not in _ENDINGS:
        raise SpecError(f"can't draw into {path.name!r}: the file's ending must be one of {', '.join(_ENDINGS)}")
    try:
        # Not pyplot: that keeps figures in a global list and may look for a screen.
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("cost", needed_for="drawing a crossover", missing="matplotlib") from error
    figure = Figure(figsize=(12.8, 7.2), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes: Any = figure.subplots(1, 2, width_ratios=(2.1, 1))
    _curves(axes[0], answer)
    _tornado(axes[1], answer)
    figure.suptitle(textwrap.fill(title(answer), _TITLE_WIDTH), fontsize=17, fontweight="bold", x=0.01, ha="left")
    figure.supxlabel(_source(answer), fontsize=8.5, color=_GREY, x=0.01, ha="left")
    # Without a date in it, the same answer is the same file.
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}, ".png": {}}[path.suffix.lower()]
    try:
        figure.savefig(path, dpi=150, metadata=metadata)
    except OSError as error:
        raise SpecError(f"can't draw into {path}: {error.strerror or error}") from error
    return path


def title(answer: CrossoverAnswer) -> str:
    """Return the finding in one line."""
    points = [point for point in answer.crossings if point.option == "self-hosted"]
    api = _shortened(answer.option("api").label, 2 * _LONGEST_NAME)
    wins = [point for point in points if point.cheaper_above == "self-hosted"]
    if not points:
        if answer.saving_usd_per_month > 0:
            return f"Self-hosting is cheaper than {api} at every volume"
        return f"{api} is cheaper than self-hosting at every volume"
    if not wins:
        return f"{api} beats self-hosting from {volume(points[-1].requests_per_month)} requests a month"
    first, last = volume(wins[0].requests_per_month), volume(wins[-1].requests_per_month)
    if len(points) == 1:
        return f"Self-hosting beats {api} from {first} requests a month"
    for_good = f", for good from {last}" if points[-1] is wins[-1] else ", never for good"
    return f"Self-hosting first beats {api} at {first} requests a month{for_good}"


def _apart(points: list[CrossingPoint], least: float) -> list[CrossingPoint]:
    """Only points far enough from the one before that their labels don't overlap."""
    kept: list[CrossingPoint] = []
    for point in points:
        if not kept or point.requests_per_month - kept[-1].requests_per_month >= least:
            kept.append(point)
    return kept


def _curves(axis: Any, answer: CrossoverAnswer) -> None:
    unit, letter = _scale(answer)
    requests = answer.workload.requests_per_month or 0
    labels: list[tuple[float, str, str]] = []
    above: list[str] = []
    # What the two that were asked about cost decides the height; a dearer option may leave the picture.
    top = 1.35 * max(max(curve.usd_per_month) for curve in answer.curves if curve.option in ("api", "self-hosted"))
    right = max(answer.curves[0].requests_per_month) / unit
    others = [curve.option for curve in answer.curves if curve.option not in _COLOURS]
    for curve in answer.curves:
        is_other = curve.option not in _COLOURS
        colour = _OTHER[others.index(curve.option) % len(_OTHER)] if is_other else _COLOURS[curve.option]
        x = [value / unit for value in curve.requests_per_month]
        is_asked = curve.option in ("api", "self-hosted")
        axis.plot(x, curve.usd_per_month, color=colour, linewidth=2.8 if is_asked else 1.6, zorder=3 if is_asked else 2)
        inside = [(a, b) for a, b in zip(x, curve.usd_per_month, strict=True) if b <= top]
        if inside:
            labels.append((inside[-1][1], _name(answer, curve.option), colour))
        else:
            above.append(f"{_name(answer, curve.option)} {money(min(curve.usd_per_month))} and more")
    shown = [
        point
        for point in answer.crossings
        if point.option == "self-hosted" and point.requests_per_month / unit <= right
    ]
    axis.scatter(
        [p.requests_per_month / unit for p in shown],
        [float(p.usd_per_month) for p in shown],
        s=70,
        color="white",
        edgecolor="black",
        zorder=5,
    )
    for point in _apart(shown, right * unit / 8)[:4]:
        x, y = point.requests_per_month / unit, float(point.usd_per_month)
        # Beside the lines: up to the left of a crossing, or to the right of one near the left edge, below it if there
        # is room.
        is_right, is_high = x > 0.25 * right, y > 0.2 * top
        axis.annotate(
            f"{volume(point.requests_per_month)}\n{money(point.usd_per_month)}",
            (x, y),
            xytext=(-9, 9) if is_right else (9, -9) if is_high else (10, 34),
            textcoords="offset points",
            ha="right" if is_right else "left",
            va="top" if is_high and not is_right else "bottom",
            fontsize=11,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
            zorder=4,
        )
    axis.axvline(requests / unit, color=_GREY, linestyle=(0, (4, 4)), linewidth=1.2, zorder=1)
    axis.annotate(
        f"expected {volume(requests)}",
        (requests / unit, top),
        xytext=(5, -4),
        textcoords="offset points",
        va="top",
        fontsize=10.5,
        color=_GREY,
    )
    if above:
        text = "above the picture: " + ", ".join(above)
        axis.annotate(
            text,
            (1, 1),
            xycoords="axes fraction",
            xytext=(0, 6),
            textcoords="offset points",
            ha="right",
            fontsize=10,
            color=_GREY,
        )
    axis.set_xlim(0, right)
    axis.set_ylim(0, top)
    _name_lines(axis, labels, top)
    axis.set_xlabel(f"requests a month ({letter})" if letter else "requests a month", fontsize=12)
    axis.set_ylabel("US dollars a month", fontsize=12)
    axis.yaxis.set_major_formatter(_dollars)
    _plain(axis)


def _name_lines(axis: Any, labels: list[tuple[float, str, str]], top: float) -> None:
    """Write names at the lines' right ends, pushed apart so that none hides another."""
    ordered = sorted(labels)
    heights = _spread([height / top for height, _, _ in ordered], least=0.045)
    for placed, (_, name, colour) in zip(heights, ordered, strict=True):
        axis.annotate(
            name,
            (1, placed),
            xycoords="axes fraction",
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=colour,
            fontsize=11.5,
            fontweight="bold",
            annotation_clip=False,
        )


def _spread(heights: list[float], *, least: float) -> list[float]:
    """Return ascending heights, moved as little as it takes to be `least` apart, from 0 to 1."""
    groups: list[tuple[float, int]] = []  # the sum of the heights, and how many
    for height in heights:
        total, size = height, 1
        # A group is centred on the mean of what it names; one that runs into the group below joins it.
        while groups and _ends(total, size, least)[0] < _ends(*groups[-1], least)[1] + least:
            below, members = groups.pop()
            total, size = below + total, members + size
        groups.append((total, size))
    return [_ends(total, size, least)[0] + least * n for total, size in groups for n in range(size)]


def _ends(total: float, size: int, least: float) -> tuple[float, float]:
    """Return the heights of the lowest and the highest name of a group, kept inside from 0 to 1."""
    half = least * (size - 1) / 2
    middle = min(max(total / size, half), 1 - half)
    return middle - half, middle + half


def _tornado(axis: Any, answer: CrossoverAnswer) -> None:
    # What moves less than a hundredth of the widest can't be seen.
    swings = [swing for swing in reversed(answer.swings[:8]) if swing.width_usd > answer.swings[0].width_usd / 100]
    centre = float(answer.saving_usd_per_month)
    ends = sorted(
        [centre, *(swing.saving_at_low_usd for swing in swings), *(swing.saving_at_high_usd for swing in swings)]
    )
    for row, swing in enumerate(swings):
        for value, end in ((swing.low, swing.saving_at_low_usd), (swing.high, swing.saving_at_high_usd)):
            axis.barh(
                row, end - centre, left=centre, height=0.62, color="#15803d" if end >= centre else "#b91c1c", alpha=0.85
            )
            if abs(end - centre) < 0.01 * (ends[-1] - ends[0]):
                continue
            axis.annotate(
                _value(value),
                (end, row),
                xytext=(4 if end >= centre else -4, 0),
                textcoords="offset points",
                va="center",
                ha="left" if end >= centre else "right",
                fontsize=9,
                color=_GREY,
            )
    axis.axvline(centre, color="black", linewidth=1.2)
    if ends[0] < 0 < ends[-1]:
        axis.axvline(0, color=_GREY, linestyle=(0, (2, 2)), linewidth=1)
    axis.set_yticks(range(len(swings)), [swing.input.replace("_", " ") for swing in swings], fontsize=11)
    axis.margins(x=0.28)
    axis.set_title(
        f"What matters\nP(self-hosting is cheaper) = {answer.likelihood.p_self_hosted_cheaper:.0%}",
        fontsize=11,
        loc="left",
    )
    axis.set_xlabel("monthly saving, US dollars", fontsize=11)
    axis.xaxis.set_major_formatter(_dollars)
    axis.tick_params(axis="x", labelrotation=30)
    _plain(axis)


def _source(answer: CrossoverAnswer) -> str:
    def first(option: OptionCost) -> str:
        line = option.lines[0]
        head = option.label if option.label == option.name else f"{option.name}: {option.label}"
        return f"{head}, {line.detail} ({line.source}{f', {line.as_of}' if line.as_of else ''})"

    w = answer.workload
    head = f"{w.input_tokens:g} tokens in, {w.output_tokens:g} out, peak {w.peak_to_mean:g} x mean. "
    lines = (textwrap.shorten(first(option), 210, placeholder=" …") for option in answer.options)
    return head + "\n".join(["", *lines]).replace("$", r"\$")


def _name(answer: CrossoverAnswer, option: str) -> str:
    """The API by its model: which one it is decides everything."""
    return _shortened((answer.option(option).label if option == "api" else option).rpartition("/")[2], _LONGEST_NAME)


def _shortened(name: str, most: int) -> str:
    """Return a name of at most so many characters, its middle left out: both ends tell models apart."""
    half = (most - 1) // 2
    return name if len(name) <= most else f"{name[:half]}…{name[-half:]}"


def _scale(answer: CrossoverAnswer) -> tuple[float, str]:
    largest = max(answer.curves[0].requests_per_month)
    return (1e6, "millions") if largest >= 1.5e6 else (1e3, "thousands") if largest >= 1.5e3 else (1.0, "")


def _value(value: float) -> str:
    return volume(value) if value >= 1000 else f"{value:.2g}"


def _dollars(value: float, _position: int) -> str:
    return money(value, places=0)


def _plain(axis: Any) -> None:
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    axis.grid(axis="both", color="#e2e8f0", linewidth=0.8)
    axis.set_axisbelow(True)
