"""Tasks of the Language Model Evaluation Harness (lm-eval), on any target."""

from __future__ import annotations

import importlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any, cast

from ftsdk.errors import MissingExtraError, SpecError
from ftsdk.evals.generation import CanMeasureLikelihood, Generator
from ftsdk.evals.reasoning import final_answer
from ftsdk.evals.results import EvalScore
from ftsdk.evals.targets import Target

__all__ = ["TaskScore", "lm_eval", "lm_eval_model"]

_MAX_NEW_TOKENS = 256


@dataclass(frozen=True, kw_only=True)
class TaskScore:
    """One metric of one task."""

    task: str
    metric: str
    """With the filter of the answers behind a comma, if there is one: `"exact_match,strict"`."""
    value: float
    stderr: float | None
    """Standard error as lm-eval computes it; None: it has none."""
    n: int
    """Examples."""
    is_lower_better: bool = False

    def eval_score(self, target: str) -> EvalScore:
        """Return the number as evals have it, with the 95% interval that follows from the standard error.

        Args:
            target: The name of what was measured.

        Raises:
            SpecError: There is no standard error.
        """
        if self.stderr is None:
            raise SpecError(f"{self.metric} of {self.task} has no standard error, so that it has no interval")
        reach = NormalDist().inv_cdf(0.975) * self.stderr
        return EvalScore(
            name=self.task,
            target=target,
            n=self.n,
            correct=None,
            value=self.value,
            low=self.value - reach,
            high=self.value + reach,
            metric=self.metric,
            interval="normal",
            is_bounded=False,
            is_lower_better=self.is_lower_better,
        )


def lm_eval(
    tasks: Sequence[str],
    target: Target,
    *,
    include_path: Path | None = None,
    limit: int | None = None,
) -> list[TaskScore]:
    """Run tasks of lm-eval on a target, and return their metrics.

    Every context becomes one user message, so that the numbers of a chat model differ from published ones of plain
    text. Most tasks fetch their data from the Hugging Face hub. Nothing is kept: a second call asks again.

    Args:
        tasks: Names of tasks or groups.
        target: What is measured. Multiple choice needs likelihoods (`CanMeasureLikelihood`).
        include_path: A folder with YAML files of further tasks.
        limit: The first so many examples of each task only.

    Raises:
        MissingExtraError: lm-eval isn't installed.
        SpecError: No such task, or it asks for what the target can't do.
    """
    manager = _module("lm_eval.tasks").TaskManager(include_path=None if include_path is None else str(include_path))
    unknown = [name for name in tasks if name not in manager.all_tasks]
    if unknown or not tasks:
        raise SpecError(
            f"lm-eval knows no task {unknown[0]!r}; include_path= names a folder with YAML files of tasks"
            if unknown
            else "lm_eval needs the name of at least one task"
        )
    evaluator = _module("lm_eval.evaluator")
    with target.open() as generator:
        found = cast(
            "Mapping[str, Any]",
            evaluator.simple_evaluate(
                model=lm_eval_model(generator, name=target.name),
                tasks=list(tasks),
                task_manager=manager,
                limit=limit,
                log_samples=False,
            ),
        )
    return [
        _score(task, key, values, found)
        for task, values in found["results"].items()
        for key, value in values.items()
        if isinstance(value, int | float) and "," in key and "_stderr," not in key
    ]


def lm_eval_model(generator: Generator, *, name: str = "the target") -> Any:
    """Return an `lm_eval.api.model.LM` that asks a generator, for `lm_eval.simple_evaluate(model=...)`.

    Args:
        generator: What `target.open()` yields; it must stay open.
        name: Of the target, for messages.

    Raises:
        MissingExtraError: lm-eval isn't installed.
    """
    base = _module("lm_eval.api.model").LM
    made: Any = type("TargetModel", (_Requests, base), {})()
    made.generator, made.name = generator, name
    return made


class _Requests:
    """How the requests of lm-eval are answered."""

    generator: Generator
    name: str

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Return greedy answers, each up to the first of its stop texts."""
        del disable_tqdm
        settings: list[Mapping[str, Any]] = [request.args[1] for request in requests]
        if any(one.get("do_sample") for one in settings):
            raise SpecError("the task asks for sampled answers, and targets answer greedily: set do_sample: false")
        limits = [int(one.get("max_gen_toks") or _MAX_NEW_TOKENS) for one in settings]
        answers = [""] * len(requests)
        for limit in sorted(set(limits)):
            found = [index for index, own in enumerate(limits) if own == limit]
            texts = self._answers([requests[index].args[0] for index in found], limit)
            answers = _with(answers, found, texts)
        return [_cut(answer, one.get("until")) for answer, one in zip(answers, settings, strict=True)]

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Return the log-probability of each continuation as an answer, and whether it is the greedy one.

        The end of the answer counts too. The second is only found out where a document has one continuation:
        multiple choice doesn't read it.
        """
        del disable_tqdm
        if not isinstance(self.generator, CanMeasureLikelihood):
            raise SpecError(
                f"{self.name} doesn't tell how likely a text is, which the task asks for; use a task with "
                "output_type: generate_until, or a model on this machine"
            )
        texts = [request.args[1].strip() for request in requests]
        found = dict(self.generator.likelihoods([_chat(request.args[0]) for request in requests], texts))
        documents = [(request.task_name, request.doc_id) for request in requests]
        counts = Counter(documents)
        alone = [index for index, document in enumerate(documents) if counts[document] == 1]
        limit = max((found[index].tokens for index in alone), default=1)
        answers = self._answers([requests[index].args[0] for index in alone], limit) if alone else []
        greedy = {
            index for index, answer in zip(alone, answers, strict=True) if answer.strip().startswith(texts[index])
        }
        return [(found[index].log_probability, index in greedy) for index in range(len(requests))]

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """Raise an error: targets answer conversations.

        Raises:
            SpecError: Always.
        """
        del requests, disable_tqdm
        raise SpecError("the task asks for the likelihood of plain text, and targets answer conversations")

    def _answers(self, contexts: Sequence[str], limit: int) -> list[str]:
        found = self.generator.generate([_chat(context) for context in contexts], max_new_tokens=limit)
        return [final_answer(answer) for answer in found]


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError("lm-eval", needed_for="running tasks of lm-eval", missing=error.name) from error


def _chat(context: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": context}]


def _with(answers: Sequence[str], positions: Sequence[int], texts: Sequence[str]) -> list[str]:
    placed = dict(zip(positions, texts, strict=True))
    return [placed.get(index, answer) for index, answer in enumerate(answers)]


def _cut(answer: str, until: str | Sequence[str] | None) -> str:
    for stop in [until] if isinstance(until, str) else until or ():
        if stop:
            answer = answer.partition(stop)[0]
    return answer


def _score(task: str, key: str, values: Mapping[str, Any], found: Mapping[str, Any]) -> TaskScore:
    metric, _, chosen = key.partition(",")
    error = values.get(f"{metric}_stderr,{chosen}")
    return TaskScore(
        task=task,
        metric=metric if chosen == "none" else key,
        value=float(values[key]),
        stderr=float(error) if isinstance(error, int | float) and math.isfinite(error) else None,
        n=int(found.get("n-samples", {}).get(task, {}).get("effective", 0)),
        is_lower_better=found.get("higher_is_better", {}).get(task, {}).get(metric) is False,
    )
