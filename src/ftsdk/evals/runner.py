"""Running evals: every example of every eval by every target, kept on disk, and nothing asked twice."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Collection, Sequence
from collections.abc import Generator as Yields
from dataclasses import dataclass
from pathlib import Path

from ftsdk.errors import SpecError
from ftsdk.evals.answers import Answer
from ftsdk.evals.comparison import allow_for_all, compare, summarize
from ftsdk.evals.eval import Eval
from ftsdk.evals.examples import Example
from ftsdk.evals.gate import Gate, judge_gate
from ftsdk.evals.generation import CanMeasure, CanMeasureLikelihood, CanStream, Generator, tools_of
from ftsdk.evals.report import EvalReport
from ftsdk.evals.results import ExampleResult
from ftsdk.evals.scorers import Score
from ftsdk.evals.storage import AnswerFile, answer_key, write_report
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
    compare_with: str | None = None,
    gate: Gate | None = None,
    on_progress: Callable[[EvalProgress], None] | None = None,
) -> EvalReport:
    """Measure every target on every eval, and compare one of them with each of the others, example by example.

    Writes `<into>/<eval>/<target>.jsonl`, one line per example, and `report.json` last. Answers are kept one by one,
    and a target is never asked the same again: a second evaluation loads nothing, after a failure only the missing
    answers are asked for, and new rows cost only themselves. Scores are always computed anew from the answers.

    Args:
        evals: What to measure; their names must differ.
        targets: Usually `targets(base, tuned)`; their names must differ.
        into: The folder for the results; created if missing.
        title: What the report is about, such as the ref of a run.
        compare_with: The name of the target that the others are compared with. None: the second one, which is the
            tuned model in `targets(base, tuned)`.
        gate: What the tuned model must show; the report has the verdict. `no_regression` is held against the first
            target.
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
    names = [target.name for target in targets]
    if compare_with is not None and compare_with not in names:
        raise SpecError(f"compare_with={compare_with!r} is none of the targets: {', '.join(names)}")
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
        score for item in evals for name in names for score in summarize(item, name, results[item.name, name])
    )
    subject = compare_with if compare_with is not None or len(names) < 2 else names[1]
    pairs = allow_for_all(
        [
            pair
            for item in evals
            for other in names
            if subject is not None and other != subject
            for pair in compare(item, results[item.name, other], results[item.name, subject], names=(other, subject))
        ]
    )
    verdict = None if gate is None else judge_gate(gate, evals, results, tuned=subject or names[0], base=names[0])
    report = EvalReport(title=title, scores=scores, pairs=pairs, gate=gate, verdict=verdict, folder=into)
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
        total = len(self._examples)
        keys = self._keys()
        earlier = {
            "model": self._target.identity,
            "data": self._eval.data.fingerprint,
            "max_new_tokens": self._eval.max_new_tokens,
        }
        with AnswerFile(folder, self._target.name, keys=keys, earlier=earlier) as file:
            answers = file.read()
            if len(answers) == total:
                self._report(total)
            else:
                self._report(len(answers))  # loading the model and the first batch may take a minute
                positions: dict[str, list[int]] = {}
                for index, key in enumerate(keys):
                    positions.setdefault(key, []).append(index)
                # Of examples that ask the same, one is asked.
                known = {index for found in positions.values() for index in found[1:]} | answers.keys()
                with contextlib.closing(self._ask(open_once(), known)) as coming:
                    for index, answer in coming:
                        file.append(index, answer)
                        answers |= dict.fromkeys(positions[keys[index]], answer)
                        self._report(len(answers))
            results = [self._result(index, example, answers[index]) for index, example in enumerate(self._examples)]
            file.finish(results)
        return results

    def _keys(self) -> list[str]:
        """Return the key of each example: what is asked, and the settings that decide the answer."""
        limit: object = self._eval.max_new_tokens
        if limit is None:
            # The limit follows from the longest reference; it is counted in tokens once the model is there.
            limit = f"auto:{max(len(example.expected.encode('utf-8', 'replace')) for example in self._examples)}"
        reads = self._eval.scorer.reads
        return [
            answer_key(
                self._target.identity,
                {"prompt": list(example.prompt), "tools": tools_of(example.prompt), "limit": limit}
                if reads == "answer"
                else {"prompt": list(example.prompt), "tools": tools_of(example.prompt), "reference": example.expected},
            )
            for example in self._examples
        ]

    def _ask(self, generator: Generator, known: Collection[int]) -> Yields[tuple[int, Answer]]:
        """Yield each missing answer with the position of its example."""
        prompts = [example.prompt for example in self._examples]
        expected = [example.expected for example in self._examples]
        if self._eval.scorer.reads == "likelihood":
            yield from self._measure(generator, known)
            return
        limit = self._eval.max_new_tokens
        if limit is None:
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
        for index, output in enumerate(outputs):
            yield index, Answer(text=output)

    def _measure(self, generator: Generator, known: Collection[int]) -> Yields[tuple[int, Answer]]:
        """Yield how likely the model finds each missing reference, as JSON."""
        if not isinstance(generator, CanMeasureLikelihood):
            raise SpecError(
                f"{self._target.name} doesn't tell how likely a text is, which the scorer "
                f"{self._eval.scorer.name!r} of the eval {self._eval.name!r} reads; only models on this machine do"
            )
        wanted = [index for index in range(len(self._examples)) if index not in known]
        prompts = [self._examples[index].prompt for index in wanted]
        expected = [self._examples[index].expected for index in wanted]
        for position, found in generator.likelihoods(prompts, expected):
            yield wanted[position], Answer(text=found.to_json())

    def _result(self, index: int, example: Example, answer: Answer) -> ExampleResult:
        scorer = self._eval.scorer
        if answer.error is None:
            score = self._eval.score(example, answer.text)
        elif scorer.is_unbounded:
            raise SpecError(
                f"example {index + 1} of the eval {self._eval.name!r} has no answer from {self._target.name} "
                f"({answer.error}), and values of the scorer {scorer.name!r} have no worst one; evaluate again later"
            )
        else:
            score = Score(1.0 if scorer.is_lower_better else 0.0, f"no answer: {answer.error}")
        return ExampleResult(
            index=index,
            prompt=example.prompt_text,
            expected=example.expected,
            output=answer.text,
            value=score.value,
            reason=score.reason,
            label=score.label,
            expected_label=score.expected_label,
            parts=score.parts,
            columns=example.columns,
            error=answer.error,
            is_cut=answer.is_cut,
            input_tokens=answer.input_tokens,
            output_tokens=answer.output_tokens,
            seconds=answer.seconds,
            usd=None if answer.usd is None else format(answer.usd, "f"),
        )

    def _report(self, done: int) -> None:
        if self._on_progress is not None:
            self._on_progress(
                EvalProgress(name=self._eval.name, target=self._target.name, done=done, total=len(self._examples))
            )
