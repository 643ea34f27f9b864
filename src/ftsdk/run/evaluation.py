"""The evaluation of a run: its base model and its tuned one on the same examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ftsdk._home import home
from ftsdk.errors import RunNotReadyError
from ftsdk.run.record import Record
from ftsdk.spec import Model

if TYPE_CHECKING:
    from ftsdk.evals import Endpoint, Eval, EvalReport

__all__ = ["evaluate_run", "results_folder"]


def results_folder(ref: str) -> Path:
    """Return the folder for what is done with a run after training; its `evals` has the evaluation."""
    return home() / "results" / ref.replace(":", "-")


def evaluate_run(
    record: Record,
    evals: Sequence[Eval] | None,
    *,
    base: Callable[[], Model | Endpoint],
    tuned: Callable[[], Model | Endpoint],
    into: Path,
    progress: bool,
) -> EvalReport:
    """Compare base and tuned model. See `Run.evaluate`.

    Args:
        record: The run.
        evals: None means those of the job, and its gate.
        base: Returns the base; called once it is known that there are evals.
        tuned: Returns the tuned model, which may have to be downloaded.
        into: The folder for the results.
        progress: Show a progress bar.

    Raises:
        RunNotReadyError: There are no evals.
    """
    from ftsdk.data import Dataset
    from ftsdk.evals import Eval, Gate, evaluate, targets
    from ftsdk.run.progress import make_bar

    chosen = [Eval.from_dict(e, Dataset.from_dict) for e in record.evals] if evals is None else list(evals)
    if not chosen:
        raise RunNotReadyError(f"run {record.ref} has no evals; pass some: run.evaluate([Eval.exact_match(test)])")
    gate = None if record.gate is None or evals is not None else Gate.from_dict(record.gate)
    pair = targets(base(), tuned())
    with make_bar(progress) as on_progress:
        return evaluate(chosen, pair, into=into, title=f"run {record.ref}", gate=gate, on_progress=on_progress)
