"""What the test data say about the winner of a sweep, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftsdk._format import printable

if TYPE_CHECKING:
    from ftsdk.evals import EvalReport
    from ftsdk.evals.results import PairedScore
    from ftsdk.job.sweep.results import SweepTable

__all__ = ["UNSWEPT", "verdict_text"]

UNSWEPT = "unswept"
"""The name, in the report, of the model that the job as it is trains."""


def verdict_text(table: SweepTable, report: EvalReport) -> str:
    """Return the verdict on the winner, with what was compared and how often.

    Args:
        table: The sweep, which is over.
        report: The winner on the evals of the job, beside the base model and the run of the job as it is.
    """
    assert table.best is not None
    lines: list[str] = []
    if report.verdict is not None:
        lines.append(f"gate: {report.verdict.decision}; " + "; ".join(report.verdict.reasons))
    if table.best is table.unchanged:
        lines.append("no change was better on the validation data than the job as it is")
    for pair in report.pairs:
        lines.append(_pair_line(pair))
    tried = sum(bool(one.values) for one in table.configurations)
    compared = len([pair for pair in report.pairs if pair.p_value is not None])
    lines.append(
        f"{tried} configurations were compared on the validation data alone, and the test data were read for the "
        f"winner only, so its scores need no correction for the {tried} tries; the p-values allow for the {compared} "
        f"comparison{'' if compared == 1 else 's'} above (Holm)"
    )
    return printable("\n".join(lines))


def _pair_line(pair: PairedScore) -> str:
    against = {"base": "the untuned model", UNSWEPT: "the job as it is"}.get(pair.base, pair.base)
    scale, unit = (100, " points") if pair.is_bounded else (1, "")
    interval = f"{scale * pair.low:+.3g} to {scale * pair.high:+.3g}"
    name = pair.name if pair.metric == "mean" else f"{pair.name}, {pair.metric}"
    verdict = pair.verdict.replace(f"than {pair.base}", f"than {against}")
    significance = f"; {pair.significance}" if pair.significance else ""
    return f"{name} against {against}: {scale * pair.difference:+.3g}{unit} (95%: {interval}), {verdict}{significance}"
