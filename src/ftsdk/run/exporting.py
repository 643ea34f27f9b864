"""Export a run's model: with its evals, and with what the run knows for the model card."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ftsdk._format import money
from ftsdk.run.evaluation import evals_of
from ftsdk.run.outcome import Outcome
from ftsdk.run.record import Record
from ftsdk.runfolder.manifest import MANIFEST
from ftsdk.spec import Model

if TYPE_CHECKING:
    from ftsdk.evals import Eval
    from ftsdk.models.export import CardFacts, Export

__all__ = ["card_facts", "export_run"]


def export_run(
    record: Record,
    model: Model,
    results: Path,
    into: str | Path,
    *,
    to: str,
    quantization: str | None,
    evals: Sequence[Eval] | None,
    on_message: Callable[[str], None] | None,
    options: Mapping[str, Any],
) -> Export:
    """Export a run's model. See `Run.export`.

    Args:
        record: The run.
        model: Its tuned model.
        results: The folder of its evaluation.
        into: A new or empty folder.
        to: The format.
        quantization: The number format.
        evals: None means those of the job.
        on_message: Called with one sentence before each slow step.
        options: The other options of `Model.export`.
    """
    from ftsdk.evals.exporting import export_with_evals

    chosen = evals_of(record) if evals is None else list(evals)
    return export_with_evals(
        model,
        into,
        to=to,
        quantization=quantization,
        evals=chosen,
        on_message=on_message,
        card=card_facts(record, results, _manifest_of(model)),
        **options,
    )


def _manifest_of(model: Model) -> Mapping[str, Any] | None:
    """Return the manifest beside a tuned model's weights; None if there is none."""
    try:
        return json.loads((Path(model.adapter or model.id).expanduser() / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return None


def card_facts(record: Record, results: Path, manifest: Mapping[str, Any] | None = None) -> CardFacts:
    """Return what a run knows about its model, for its card and its record: job, data, evaluation, cost, privacy.

    Args:
        record: The run.
        results: The folder of its evaluation.
        manifest: Of its weights; None: they aren't here.
    """
    from ftsdk.models.export import CardFacts

    spec = {
        key: value
        for key, value in cast("Mapping[str, Any]", record.plan.get("spec") or {}).items()
        if value is not None
    }
    data = {
        part: str(cast("Mapping[str, Any]", spec[part])["fingerprint"])
        for part in ("train", "validation")
        if isinstance(spec.get(part), dict) and spec[part].get("fingerprint")
    }
    outcome = None if record.outcome is None else Outcome.from_dict(record.outcome)
    cost = None if outcome is None or outcome.cost_usd is None else money(outcome.cost_usd)
    info = cast("Mapping[str, Any]", (manifest or {}).get("info") or {})
    return CardFacts(
        run=record.ref,
        spec={key: value for key, value in spec.items() if key not in ("train", "validation")},
        data=data,
        evals=_eval_lines(results),
        cost=cost,
        versions=cast("Mapping[str, str]", info.get("versions") or {}),
        privacy=cast("Mapping[str, Any] | None", info.get("privacy")),
    )


def _eval_lines(results: Path) -> Sequence[Any]:
    """Return what the run's last evaluation found; empty if there was none."""
    from ftsdk.errors import FtsdkError
    from ftsdk.evals import EvalReport
    from ftsdk.models.export import EvalLine

    try:
        report = EvalReport.read(results)
    except (FtsdkError, OSError):
        return ()
    scores = {(score.name, score.metric, score.target): score for score in report.scores}
    lines: list[EvalLine] = []
    for pair in report.pairs:
        base, tuned = (scores.get((pair.name, pair.metric, target)) for target in (pair.base, pair.tuned))
        if pair.base != "base" or base is None or tuned is None:
            continue
        lines.append(
            EvalLine(
                name=pair.name,
                metric=pair.metric,
                base=f"{base.value:.3g} ({base.low:.3g} to {base.high:.3g})",
                tuned=f"{tuned.value:.3g} ({tuned.low:.3g} to {tuned.high:.3g})",
                difference=f"{pair.difference:+.3g} ({pair.low:+.3g} to {pair.high:+.3g})",
                value=round(tuned.value, 6),
                n=tuned.n,
            )
        )
    return tuple(lines)
