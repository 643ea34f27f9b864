"""Running evals: every example of every eval by every target, kept on disk, and nothing asked twice."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Collection, Sequence
from collections.abc import Generator as Yields
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

from ftsdk._spend import SpendMeter
from ftsdk.errors import BackendError, BudgetExceededError, SpecError
from ftsdk.evals.answers import Answer
from ftsdk.evals.comparison import allow_for_all, compare, summarize
from ftsdk.evals.eval import Eval
from ftsdk.evals.examples import Example
from ftsdk.evals.gate import Gate, check_gate, check_targets, judge_gate
from ftsdk.evals.generation import CanGuess, CanMeasure, CanMeasureLikelihood, CanStream, Generator, tools_of
from ftsdk.evals.judgement import judge_answers
from ftsdk.evals.judges.judge_calls import judge_cost
from ftsdk.evals.report import EvalJudgeCost, EvalReport
from ftsdk.evals.report.build import UsdPerHour, check_usd_per_hour, parts_of
from ftsdk.evals.results import ExampleResult
from ftsdk.evals.scorers import Score
from ftsdk.evals.scorers.abilities import CanJudgeMany
from ftsdk.evals.scorers.exact_match import WRONG_FORM
from ftsdk.evals.spending import CanMeter, meter_for
from ftsdk.evals.storage import AnswerFile, answer_key, mark_finished, write_report
from ftsdk.evals.targets import Target
from ftsdk.evals.wrapped_targets import count_unkept, session_of
from ftsdk.spec.amounts import check_amount

__all__ = ["EvalProgress", "evaluate"]

_MARGIN_TOKENS = 8
_LEAST_TOKENS = 16
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,99}")
_OF_OTHER_FILES = (".answers", ".meta", ".partial")


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
    into: str | Path,
    title: str = "",
    compare_with: str | None = None,
    budget_usd: Decimal | float | None = None,
    gate: Gate | None = None,
    accept_at: float = 1.0,
    usd_per_hour: UsdPerHour = None,
    on_progress: Callable[[EvalProgress], None] | None = None,
) -> EvalReport:
    """Measure every target on every eval, and compare one of them with each of the others, example by example.

    Writes `<into>/<eval>/<target>.jsonl`, one line per example, and `report.json` last. Answers are kept one by one,
    and a target is never asked the same again: a second evaluation loads nothing, after a failure only the missing
    answers are asked for, and new rows cost only themselves. Scores are always computed anew from the answers.

    An example that an endpoint refuses, or doesn't answer after all attempts, is recorded with its error: it counts as
    the worst score, and the next evaluation asks for it again. What concerns all examples alike is raised, once the
    answers so far are kept: a refused key, a server that can't be reached, or failures without any answer
    (`ftsdk.evals.stop_rule.StopRule` has the rule).

    Args:
        evals: What to measure; their names must differ.
        targets: Usually `targets(base, tuned)`; their names must differ.
        into: The folder for the results; created if missing.
        title: What the report is about, such as the ref of a run.
        compare_with: The name of the target that the others are compared with. None: the second one, which is the
            tuned model in `targets(base, tuned)`.
        budget_usd: The most that this call may spend on endpoints, in US dollars; answers that are on disk already
            don't count. Money is set aside for the longest possible answer before each request, and an attempt that
            may be billed though no answer arrived counts at its most, so the budget holds. None: no limit.
        gate: What the tuned model must show; the report has the verdict. `no_regression` is held against the first
            target.
        accept_at: The score from which an answer counts as accepted, for the cost of a thousand accepted answers.
        usd_per_hour: US dollars for an hour of the machine, for targets whose answers have no price, such as models on
            this machine: one price, or prices by the names of targets. None: their cost isn't known.
        on_progress: Called as answers come.

    Raises:
        SpecError: No evals, no targets, or two with the same name; a gate that names what isn't measured; or a budget,
            and a price that isn't known.
        DatasetError: A row isn't an example, or is too long for a model; or answers can't be kept, because the disk is
            full or another process is evaluating the same target into the same folder.
        ModelError: A model can't be loaded.
        CredentialsError: An endpoint refused the key.
        BackendError: An endpoint failed for good, or answered no example at all.
        BudgetExceededError: The budget is reached. Answers are kept: the next call goes on with a budget of its own.
    """
    for what, names in (("evals", [item.name for item in evals]), ("targets", [target.name for target in targets])):
        if not names or len(set(names)) < len(names):
            raise SpecError(f"evaluate needs at least one of {what}, each with a name of its own; got {names}")
    names = [target.name for target in targets]
    for name in names:
        if not _NAME.fullmatch(name) or name.endswith(_OF_OTHER_FILES):
            rule = "at most 100 letters, digits, dots, dashes, underscores and plus signs (it names files)"
            raise SpecError(f"the name of a target must be {rule}; got {name!r}")
    into = Path(into).expanduser()
    meter = meter_for(targets, budget_usd)
    if compare_with is not None and compare_with not in names:
        raise SpecError(f"compare_with={compare_with!r} is none of the targets: {', '.join(names)}")
    check_amount("accept_at", accept_at, at_least=0, at_most=1)
    check_usd_per_hour(usd_per_hour, names)
    subject = compare_with if compare_with is not None or len(names) < 2 else names[1]
    if gate is not None:
        check_gate(gate, evals)
        check_targets(gate, tuned=subject or names[0], base=names[0], known=names)
    examples = {item.name: item.examples() for item in evals}
    for item in evals:
        item.prepare()  # a reference that can't be judged is found before answers to it are paid for
    results: dict[tuple[str, str], list[ExampleResult]] = {}
    # One target after the other, not one eval after the other: two models never have to be in memory at once.
    for target in targets:
        with contextlib.ExitStack() as stack:
            open_once = _open_once(target, stack, meter)
            for item in evals:
                measurement = _Measurement(item, examples[item.name], target, on_progress)
                results[item.name, target.name] = measurement.run(into / item.name, open_once)
    scores = tuple(
        replace(score, unkept=unkept, wrong_form=sum(result.reason in WRONG_FORM for result in found))
        for item in evals
        for target in targets
        for found in (results[item.name, target.name],)
        for unkept in (count_unkept(target, (result.output for result in found if result.error is None)),)
        for score in summarize(item, target.name, found)
    )
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
    parts = parts_of(evals, results, names, subject or names[0], accept_at=accept_at, usd_per_hour=usd_per_hour)
    report = EvalReport(
        title=title,
        scores=scores,
        pairs=pairs,
        gate=gate,
        verdict=verdict,
        folder=into,
        judge_costs=_judge_costs(evals, into),
        **parts,
    )
    write_report(report, into)
    for target in targets:
        session = session_of(target)
        has_errors = any(result.error is not None for item in evals for result in results[item.name, target.name])
        if session is not None and not has_errors:
            for item in evals:
                mark_finished(into / item.name, target.name, session)
    return report


def _judge_costs(evals: Sequence[Eval], into: Path) -> tuple[EvalJudgeCost, ...]:
    """Return what the models that judge have cost, of evals that keep verdicts."""
    costs = {item.name: judge_cost(into / item.name) for item in evals if isinstance(item.scorer, CanJudgeMany)}
    return tuple(
        EvalJudgeCost(
            name=name,
            requests=cost.requests,
            input_tokens=cost.input_tokens,
            output_tokens=cost.output_tokens,
            usd=cost.usd,
        )
        for name, cost in costs.items()
        if cost.requests
    )


def _open_once(target: Target, stack: contextlib.ExitStack, meter: SpendMeter | None) -> Callable[[], Generator]:
    """Return a function that opens the target when it is first called, for as long as the stack lasts."""

    @functools.cache
    def open_target() -> Generator:
        generator = stack.enter_context(target.open())
        return generator.metered(meter) if meter is not None and isinstance(generator, CanMeter) else generator

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
        session = session_of(self._target)
        with AnswerFile(folder, self._target.name, keys=keys, earlier=earlier, session=session) as file:
            answers = file.read()
            if len(answers) < total:
                file.open()
                answers = file.read()  # another process may have added some
                self._ask_for_rest(file, keys, answers, open_once)
            else:
                self._report(total)
            scores = judge_answers(self._eval, self._examples, answers, target=self._target.name, folder=folder)
            results = [
                self._result(index, example, answers[index], scores[index])
                for index, example in enumerate(self._examples)
            ]
            file.finish(results)
        return results

    def _ask_for_rest(
        self, file: AnswerFile, keys: Sequence[str], answers: dict[int, Answer], open_once: Callable[[], Generator]
    ) -> None:
        """Add the answers that are missing, each kept before the next is asked for."""
        total = len(self._examples)
        self._report(len(answers))  # loading the model and the first batch may take a minute
        positions: dict[str, list[int]] = {}
        for index, key in enumerate(keys):
            positions.setdefault(key, []).append(index)
        # Of examples that ask the same, one is asked.
        known = {index for found in positions.values() for index in found[1:]} | answers.keys()
        try:
            with contextlib.closing(self._ask(open_once(), known)) as coming:
                for index, answer in coming:
                    file.append(index, answer)
                    answers |= dict.fromkeys(positions[keys[index]], answer)
                    self._report(len(answers))
        except (BackendError, BudgetExceededError) as error:
            answered = sum(answer.error is None for answer in answers.values())
            error.add_note(
                f"{self._target.name} has answered {answered} of {total} examples of the eval {self._eval.name!r}; "
                "the next evaluation goes on from there"
            )
            raise
        if all(answer.error is not None for answer in answers.values()):
            raise BackendError(
                f"{self._target.name} answered none of {total} examples of the eval {self._eval.name!r}; the first "
                f"failed with: {answers[min(answers)].error}"
            )

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
        if isinstance(generator, CanGuess):
            # The reference is the best guess there is: it changes the time, and never the answer.
            generator = generator.guessing(expected)
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

    def _result(self, index: int, example: Example, answer: Answer, score: Score) -> ExampleResult:
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
            error=answer.error or score.error,
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
