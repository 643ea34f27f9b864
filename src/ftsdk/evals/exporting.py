"""`Model.export`: what `ftsdk.models.export` writes and proves, with the score of the run's evals beside it."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ftsdk.evals.endpoint import Endpoint
from ftsdk.evals.eval import Eval
from ftsdk.evals.examples import read_examples
from ftsdk.evals.local import local_target
from ftsdk.evals.prompts import read_prompts
from ftsdk.evals.results import PairedScore
from ftsdk.evals.runner import evaluate
from ftsdk.evals.storage import read_results
from ftsdk.evals.targets import NamedTarget, Target
from ftsdk.models.export.card import CardFacts
from ftsdk.models.export.export_model import Exported, export_model
from ftsdk.models.export.export_report import Export
from ftsdk.models.export.gates import Gate
from ftsdk.models.export.llama_server import llama_server
from ftsdk.spec import Model
from ftsdk.spec.amounts import check_amount

__all__ = ["MOST_LOSS", "MOST_PROMPTS", "eval_prompts", "export_with_evals", "judge_score"]

MOST_PROMPTS = 20
"""Of the evals, for the comparison of answers."""
MOST_LOSS = 0.02
"""How much of a score a quantised model may lose: two points of a hundred."""


def export_with_evals(
    model: Model,
    into: str | Path,
    /,
    *,
    to: str,
    quantization: str | None = None,
    adapter_only: bool = False,
    prompts: object = None,
    evals: Sequence[Eval] = (),
    most_loss: float = MOST_LOSS,
    reference_dtype: Literal["float32", "bfloat16", "float16"] = "float32",
    prove: bool = True,
    name: str | None = None,
    on_message: Callable[[str], None] | None = None,
    card: CardFacts | None = None,
) -> Export:
    """Export a model and prove it; see `Model.export`. The card may say what is known of a run, too."""
    check_amount("most_loss", most_loss, at_least=0, at_most=1)
    asked: Sequence[Sequence[Mapping[str, Any]]] | None = None
    if prompts is not None:
        asked = read_prompts(prompts).conversations
    elif evals:
        asked = eval_prompts(evals)

    def score(written: Exported) -> Gate:
        return _measured(model, written, list(evals), most_loss, reference_dtype)

    return export_model(
        model,
        into,
        to=to,
        quantization=quantization,
        adapter_only=adapter_only,
        prompts=asked,
        reference_dtype=reference_dtype,
        prove=prove,
        score=score if evals else None,
        card=card,
        name=name,
        on_message=on_message,
    )


def eval_prompts(evals: Iterable[Eval], most: int = MOST_PROMPTS) -> list[list[dict[str, Any]]]:
    """Return prompts of evals, the first ones of each in turn."""
    columns = [[example.prompt for example in read_examples(one.data)[:most]] for one in evals]
    found = [prompts[index] for index in range(most) for prompts in columns if index < len(prompts)]
    return [list(prompt) for prompt in found[:most]]


def judge_score(pairs: Sequence[PairedScore], *, most_loss: float, same_answers: bool) -> Gate:
    """Return the gate on the scores of what was written against those of the model before.

    Args:
        pairs: The model before the export as `base`, what was written as `tuned`, for each eval.
        most_loss: What may be lost of a score.
        same_answers: Whether every answer was the same text.
    """
    if same_answers:
        return Gate(name="score", verdict="same", detail="every answer to the evals is the same")
    verdicts: list[str] = []
    details: list[str] = []
    figures: dict[str, float] = {}
    for pair in pairs:
        sign = -1.0 if pair.is_lower_better else 1.0
        change, worst, best = (sign * value for value in (pair.difference, pair.low, pair.high))
        worst, best = min(worst, best), max(worst, best)
        figures[f"{pair.name}/{pair.metric}"] = change
        found = f"{pair.name} ({pair.metric}): {change:+.3g}, 95% interval {worst:+.3g} to {best:+.3g}"
        if worst >= -most_loss:
            verdicts.append("within")
            details.append(f"{found}: no more than {most_loss:g} is lost")
        elif best < 0 or change < -most_loss:
            verdicts.append("differs")
            details.append(f"{found}: worse")
        else:
            verdicts.append("can't tell")
            details.append(f"{found}: these examples can't rule out a loss of more than {most_loss:g}")
    verdict: Any = next((one for one in ("differs", "can't tell") if one in verdicts), "within")
    return Gate(name="score", verdict=verdict, detail="; ".join(details), figures=figures)


def _measured(model: Model, written: Exported, evals: list[Eval], most_loss: float, dtype: str) -> Gate:
    before = local_target("before", model, dtype=dtype)
    with tempfile.TemporaryDirectory() as folder, _opened(written) as after:
        report = evaluate(evals, [before, after], into=folder, compare_with="written")
        pairs = [
            pair for one in evals for pair in report.pairs if pair.name == one.name and pair.metric == one.metric.name
        ]
        return judge_score(pairs, most_loss=most_loss, same_answers=_same_answers(Path(folder), evals))


@contextlib.contextmanager
def _opened(written: Exported) -> Generator[Target]:
    """Yield what was written as something that `evaluate` can measure."""
    if written.gguf is None:
        assert written.model is not None
        yield local_target("written", written.model, dtype="float32")
        return
    adapters = [written.gguf_adapter] if written.gguf_adapter else []
    with llama_server(written.gguf, adapters=adapters, is_adapted=bool(adapters), context=4096) as server:
        endpoint = Endpoint(url=f"{server.url}/v1", model=written.gguf.name, concurrency=1, timeout_s=600)
        yield NamedTarget(name="written", target=endpoint.target("written"))


def _same_answers(folder: Path, evals: Sequence[Eval]) -> bool:
    for one in evals:
        before, after = (read_results(folder / one.name / f"{name}.jsonl") for name in ("before", "written"))
        if [result.output for result in before] != [result.output for result in after]:
            return False
    return True
