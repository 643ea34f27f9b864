"""Running evals: every example of every eval by every target, kept on disk, and nothing asked twice."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Collection, Sequence
from collections.abc import Generator as Yields
from dataclasses import dataclass
from pathlib import Path

from ftsdk.errors import SpecError
from ftsdk.evals.comparison import compare, summarize
from ftsdk.evals.eval import Eval
from ftsdk.evals.examples import Example
from ftsdk.evals.generation import CanMeasure, CanStream, Generator
from ftsdk.evals.report import EvalReport
from ftsdk.evals.results import ExampleResult, PairedScore
from ftsdk.evals.storage import AnswerFile, write_report
from ftsdk.evals.targets import Target

__all__ = ["EvalProgress", "evaluate"]

_MARGIN_TOKENS = 8
_LEAST_TOKENS = 16


@dataclass(frozen=True, kw_only=True)
class EvalProgress:
    """Progress of an evaluation."""

    name: str
    """The eval."""
    target: str
    done: int
    """Examples."""
    total: int


def evaluate(
    evals: Sequence[Eval],
    targets: Sequence[Target],
    *,
    into: Path,
    title: str = "",
    on_progress: Callable[[EvalProgress], None] | None = None,
) -> EvalReport:
    """Measure every target on every eval and compare the first two, example by example.

    Writes `<into>/<eval>/<target>.jsonl`, one line per example, and `report.json` last. Answers of the same target to
    the same rows are used again, so a second evaluation loads nothing, and after a failure only the missing answers
    are asked for. Scores are always computed anew from the answers.

    Args:
        evals: What to measure; their names must differ.
        targets: Usually `targets(base, tuned)`; their names must differ.
        into: The folder for the results; created if missing.
        title: What the report is about, such as the ref of a run.
        on_progress: Called as answers come.

    Raises:
        SpecError: No evals, no targets, or two with the same name.
        DatasetError: A row isn't an example, or is too long for a model.
        ModelError: A model can't be loaded.
        CredentialsError: An endpoint refused the key.
        BackendError: An endpoint failed.
    """
    for what, names in (("evals", [item.name for item in evals]), ("targets", [target.name for target in targets])):
        if not names or len(set(names)) < len(names):
            raise SpecError(f"evaluate needs at least one of {what}, each with a name of its own; got {names}")
    examples = {item.name: item.examples() for item in evals}
    results: dict[tuple[str, str], list[ExampleResult]] = {}
    # One target after the other, not one eval after the other: two models never have to be in memory at once.
    for target in targets:
        with contextlib.ExitStack() as stack:
            open_once = _open_once(target, stack)
            for item in evals:
                measurement = _Measurement(item, examples[item.name], target, on_progress)
                results[item.name, target.name] = measurement.run(into / item.name, open_once)
    scores = tuple(
        summarize(item, target.name, results[item.name, target.name]) for item in evals for target in targets
    )
    pairs: tuple[PairedScore, ...] = ()
    if len(targets) > 1:
        first, second = targets[0].name, targets[1].name
        pairs = tuple(compare(item, results[item.name, first], results[item.name, second]) for item in evals)
    report = EvalReport(title=title, scores=scores, pairs=pairs, folder=into)
    write_report(report, into)
    return report


def _open_once(target: Target, stack: contextlib.ExitStack) -> Callable[[], Generator]:
    """Return a function that opens the target when it is first called, for as long as the stack lasts."""

    @functools.cache
    def open_target() -> Generator:
        return stack.enter_context(target.open())

    return open_target


class _Measurement:
    """One target on one eval."""

    def __init__(
        self, item: Eval, examples: list[Example], target: Target, on_progress: Callable[[EvalProgress], None] | None
    ) -> None:
        self._eval = item
        self._examples = examples
        self._target = target
        self._on_progress = on_progress

    def run(self, folder: Path, open_once: Callable[[], Generator]) -> list[ExampleResult]:
        identity = {
            "model": self._target.identity,
            "data": self._eval.data.fingerprint,
            "max_new_tokens": self._eval.max_new_tokens,
        }
        total = len(self._examples)
        with AnswerFile(folder, self._target.name, identity=identity) as file:
            outputs = file.read()
            if len(outputs) == total:
                self._report(total)
            else:
                self._report(len(outputs))  # loading the model and the first batch may take a minute
                with contextlib.closing(self._answers(open_once(), outputs.keys())) as answers:
                    for index, output in answers:
                        file.append(index, output)
                        outputs[index] = output
                        self._report(len(outputs))
            results = [self._result(index, example, outputs[index]) for index, example in enumerate(self._examples)]
            scorer = self._eval.scorer
            file.finish(results, scorer={"name": scorer.name, "options": dict(scorer.options)})
        return results

    def _answers(self, generator: Generator, known: Collection[int]) -> Yields[tuple[int, str]]:
        """Yield each missing answer with the position of its example."""
        prompts = [example.prompt for example in self._examples]
        limit = self._eval.max_new_tokens
        if limit is None:
            expected = [example.expected for example in self._examples]
            lengths = (
                generator.answer_lengths(prompts, expected)
                if isinstance(generator, CanMeasure)
                else generator.count_tokens(expected)
            )
            limit = max(max(lengths) + _MARGIN_TOKENS, _LEAST_TOKENS)
        if isinstance(generator, CanStream):
            yield from generator.stream(prompts, max_new_tokens=limit, skip=frozenset(known))
            return

        def report(done: int, _: int) -> None:
            self._report(done)

        outputs = generator.generate(prompts, max_new_tokens=limit, on_progress=report)
        yield from zip(range(len(prompts)), outputs, strict=True)

    def _result(self, index: int, example: Example, output: str) -> ExampleResult:
        score = self._eval.score(example, output)
        return ExampleResult(index, example.prompt_text, example.expected, output, score.value, score.reason)

    def _report(self, done: int) -> None:
        if self._on_progress is not None:
            self._on_progress(
                EvalProgress(name=self._eval.name, target=self._target.name, done=done, total=len(self._examples))
            )
