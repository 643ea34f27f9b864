"""What `Dataset` can do with the help of models: more rows, and preferences."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from ftsdk._format import money, printable
from ftsdk._numbers import exact_amount
from ftsdk.data.argument_checks import checked_seed
from ftsdk.data.bad_rows import BadRows, DroppedRow
from ftsdk.data.canonical import messages_maker, ready_rows
from ftsdk.data.message_rows import message_rows
from ftsdk.data.record_steps import AskedModel, AugmentStep, JudgedStep
from ftsdk.data.row_keys import answer_text, prompt_text
from ftsdk.data.rows import Rows
from ftsdk.data.steps import Step
from ftsdk.data.table import join_tables, room_on_disk, table_of
from ftsdk.errors import DatasetError
from ftsdk.spec.amounts import check_amount

if TYPE_CHECKING:
    from ftsdk._spend import SpendMeter
    from ftsdk.data.dataset import Dataset
    from ftsdk.data.growing.augment import Growth
    from ftsdk.data.growing.gates import RowCheck
    from ftsdk.data.growing.growth_plan import GrowthPlan
    from ftsdk.data.growing.preference import Judge
    from ftsdk.data.growing.provenance import Provenance
    from ftsdk.data.growing.text_models import NamedModel, TextModel

__all__ = ["GrowingByModels"]


class GrowingByModels(Rows):
    """Rows that models can add to, or judge; the public class is `Dataset`."""

    __slots__ = ()

    def augment(
        self,
        model: TextModel,
        *,
        how: str = "paraphrase",
        per_row: int = 1,
        rows: int | None = None,
        per_class: int | None = None,
        labels: Collection[str] | bool | None = None,
        check: RowCheck | None = None,
        max_similarity: float = 0.7,
        temperature: float | None = 1.0,
        seed: int = 0,
        budget_usd: Decimal | float | None = None,
        answers: str | Path | None = None,
        on_plan: Callable[[GrowthPlan], object] | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Dataset:
        """Let a model write more rows, and return these rows with the new ones behind them.

        Split first: a row and its paraphrase on both sides of a split are a leak. Every answer is kept on disk as it
        comes. A call that was killed goes on where it ended, and the same call again asks nothing; another `seed` asks
        anew. What the gates refuse is in `removed` with its reason, and `provenance` has the origin of each new row.

            >>> teacher = Endpoint(url="https://api.example.com/v1", model="big", api_key_env="BIG_KEY", price=price)
            >>> train = train.augment(teacher, how="paraphrase", rows=500, budget_usd=5)

        Args:
            model: An `Endpoint`, `ftsdk.evals.local_target(...)` for a model on this machine, or a function from
                messages to text. Of an endpoint, `price` makes the cost known.
            how: `"paraphrase"` writes the last question of a row in other words and keeps its answer; `"rare_classes"`
                writes questions for classes with few rows; anything else is an instruction with `{prompt}`,
                `{completion}` and `{n}` in it, to which the model writes prompts with completions.
            per_row: New rows that are asked for of each row.
            rows: The most new rows. None: `per_row` of each row.
            per_class: With `"rare_classes"`: fill up classes to so many rows; None: to the median class.
            labels: What an answer may be. None: the labels of these rows, if their answers look like class labels;
                False: anything.
            check: Called with each new row that is otherwise good; returns whether to keep it, or why not.
            max_similarity: From this Jaccard similarity on, two prompts are near-duplicates, and the later one is
                refused: of 3-grams of words or, below 20 words, of 4-grams of letters.
            temperature: How varied the answers are; None sends none, for models that refuse it.
            seed: Which rows are asked about.
            budget_usd: The most that the answers may cost, in US dollars, those of killed calls included. The call is
                refused if it is likely to cost more, and stops before the request that might exceed it; answers that
                never arrive and are billed all the same aren't counted.
            answers: The file for the answers. None: one for each model in the home of ftsdk; those of functions aren't
                kept then.
            on_plan: Called with the plan and its cost before anything is asked; raise in it to stop. None prints it to
                standard error.
            on_progress: Called with how many requests are answered, and of how many.

        Raises:
            DatasetError: The rows aren't chat rows or use tools, no class is rare, or no new row passes the gates.
            SpecError: A number is out of range, or there is a budget and the price isn't known.
            BudgetExceededError: The likely cost is above the budget; nothing was asked.
            CredentialsError: The key was refused.
            BackendError: The endpoint failed for good; the same call goes on where this one ended.
        """
        # They load NumPy and more.
        from ftsdk._spend import SpendMeter
        from ftsdk.data.growing.augment import grow, growth_requests, template_of
        from ftsdk.data.growing.gates import Gates, label_set
        from ftsdk.data.growing.growth_plan import GrowthPlan, announce
        from ftsdk.data.growing.model_calls import ModelCalls
        from ftsdk.data.growing.text_models import named_model

        if self._format != "chat":
            raise DatasetError(
                f"augment needs chat rows, and these are {self._format} rows.",
                source=self.name,
                hint="Shape a table with as_chat(...) first." if self._format == "table" else None,
            )
        self._refuse_tools("augment")
        seed = checked_seed(seed, source=self.name)
        temperature = _temperature(temperature)
        check_amount("per_row", per_row, at_least=1, at_most=50, is_whole=True)
        check_amount("max_similarity", max_similarity, above=0, at_most=1)
        for name, count in (("rows", rows), ("per_class", per_class)):
            if count is not None:
                check_amount(name, count, at_least=1, is_whole=True)
        asked, budget = named_model(model), _budget(budget_usd)
        known = self._rows
        prompts = [prompt_text(row, "chat") for row in known]
        gates = Gates(
            labels=label_set(labels, [answer_text(row) for row in known]), max_similarity=max_similarity, check=check
        )
        template = template_of(how)
        requests = growth_requests(
            known,
            how=how,
            per_row=per_row,
            most=rows,
            per_class=per_class,
            seed=seed,
            temperature=temperature,
        )
        if not requests:
            raise DatasetError("no class is rare: each has as many rows as were asked for.", source=self.name)
        meter = SpendMeter(budget)
        calls = ModelCalls(asked, meter, None if answers is None else Path(answers))
        wanted = [one.request for one in requests]
        announce(GrowthPlan(call="augment", parts=(calls.cost(wanted),), budget_usd=budget), on_plan)
        found = calls.run(wanted, on_progress=on_progress)
        content = hashlib.sha256("".join(request.key(template) for request in wanted).encode()).hexdigest()
        label = f"{printable(asked.name, 60)}#{content[:8]}"
        grown = grow(requests, found, known, prompts, gates=gates, most=rows, source=label)
        step = AugmentStep(
            **_asked(asked).to_dict(),
            template=template,
            temperature=temperature,
            seed=seed,
            source=label,
            rows=len(grown.rows),
            refused=len(grown.removed),
            stopped=_stopped(meter, found.count(None), len(found), "requests"),
            usd=_spent(meter, asked),
            made=grown.made,
        )
        return self._grown(grown, step)

    def to_preference(
        self,
        first: TextModel,
        second: TextModel,
        judge: Judge,
        *,
        rows: int | None = None,
        criteria: str | None = None,
        max_new_tokens: int = 512,
        judge_tokens: int = 512,
        temperature: float | None = 0,
        seed: int = 0,
        budget_usd: Decimal | float | None = None,
        answers: str | Path | None = None,
        on_plan: Callable[[GrowthPlan], object] | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Dataset:
        """Let two models answer each prompt and a judge compare the answers, and return preference rows.

        The judge is asked in both orders, and a prompt counts only if it prefers the same answer in both. The others
        are in `removed`, with both answers and the reason. Answers are kept on disk; see `augment`.

        Args:
            first: An `Endpoint`, `ftsdk.evals.local_target(...)` for a model on this machine, or a function from
                messages to text.
            second: Likewise. May be the same model, with a `temperature` above 0.
            judge: An endpoint or a local model, which is asked for a verdict; or a function that takes the messages
                and two answers, and returns `"first"`, `"second"` or `"tie"`.
            rows: Ask about so many prompts, drawn by `seed`; None: all.
            criteria: What the judge is told to look at. None: correctness, helpfulness, and fit to what was asked.
            max_new_tokens: Longest answer in tokens; longer ones are refused.
            judge_tokens: Longest reply of the judge, in tokens.
            temperature: Of the answers; the judge's is 0. None sends none to either.
            seed: Which prompts.
            budget_usd: The most that all answers may cost together; see `augment`.
            answers: The file for the answers of all three; see `augment`.
            on_plan: See `augment`.
            on_progress: Called with how many requests of a model are answered, and of how many; three times.

        Raises:
            DatasetError: The rows are still a table or use tools, or no prompt has a better and a worse answer.
            SpecError: As for `augment`, or a function returns no answer or verdict.
            BudgetExceededError: The likely cost is above the budget; nothing was asked.
            CredentialsError: A key was refused.
            BackendError: An endpoint failed for good; the same call goes on where this one ended.
        """
        from ftsdk._spend import SpendMeter
        from ftsdk.data.growing.growth_plan import GrowthPlan, announce
        from ftsdk.data.growing.judging import Judging
        from ftsdk.data.growing.preference import CRITERIA, JUDGE_TEMPLATE, pairs

        if self._format == "table":
            raise self._not_shaped()
        self._refuse_tools("to_preference")
        criteria = CRITERIA if criteria is None else criteria
        check_amount("max_new_tokens", max_new_tokens, at_least=1, is_whole=True)
        check_amount("judge_tokens", judge_tokens, at_least=1, is_whole=True)
        seed = checked_seed(seed, source=self.name)
        temperature = _temperature(temperature)
        if rows is not None:
            check_amount("rows", rows, at_least=1, is_whole=True)
        subset = self if rows is None or rows >= len(self) else self._drawn(rows, seed)
        known, budget = list(subset._rows), _budget(budget_usd)
        judging = Judging(
            known,
            first,
            second,
            judge,
            meter=SpendMeter(budget),
            answers=None if answers is None else Path(answers),
            criteria=criteria,
            max_new_tokens=max_new_tokens,
            judge_tokens=judge_tokens,
            temperature=temperature,
        )
        announce(GrowthPlan(call="to_preference", parts=judging.costs(), budget_usd=budget), on_plan)
        done = judging.run(on_progress)
        places = list(subset._places())
        removed = [
            DroppedRow(places[one.position].source, places[one.position].line, one.reason, one.row)
            for one in done.refused
        ]
        if not done.better:
            why = removed[0].reason if removed else "the budget was reached before any verdict"
            raise DatasetError(
                f"none of the {len(known):,} prompts has a better and a worse answer; of the first: {why}.",
                source=self.name,
            )
        step = JudgedStep(
            first=_asked(judging.first),
            second=_asked(judging.second),
            judge=_asked(judging.judge),
            template=JUDGE_TEMPLATE.replace("{criteria}", criteria) if judging.is_asked else None,
            rows=len(done.better),
            first_won=done.first_won,
            refused=len(removed),
            stopped=_stopped(judging.meter, done.not_asked, len(known), "prompts"),
            usd=_spent(judging.meter, judging.first, judging.second, judging.judge),
            on=f"{datetime.now(UTC):%Y-%m-%d}",
        )
        table = subset._table.at([position for position, _, _ in done.better])
        with room_on_disk(self._source.location):
            made = message_rows(pairs(known, done.better))
        return subset._derived(table, made, Step(judged=step), format="preference", dropped=removed)

    @property
    def provenance(self) -> dict[int, Provenance]:
        """Where each row comes from that `augment` made, by its position: model, endpoint, template, seed rows, day.

        It stays with the rows through `split`, `filter`, `+` and the like, and is no part of what is trained on.
        """
        from ftsdk.data.growing.provenance import provenance_of

        return provenance_of(self, ((where.source, where.line) for where in self._places()))

    def _refuse_tools(self, call: str) -> None:
        """Refuse rows with tools: models are asked for text alone, and what they write would stand beside no tools."""
        for where, row in zip(self._places(), self._rows, strict=True):
            messages = row["messages"] if "messages" in row else row["prompt"]
            if "tools" in row or any("tool_calls" in message for message in messages):
                raise where.error(
                    f"uses tools, and {call} asks models for text alone.",
                    hint="Leave such rows out with filter(...), and join them again with +.",
                )

    def _drawn(self, rows: int, seed: int) -> Dataset:
        from ftsdk.data.dataset import Dataset

        assert isinstance(self, Dataset)
        return self.sample(rows, seed)

    def _grown(self, grown: Growth, step: AugmentStep) -> Dataset:
        if not grown.rows:
            why = grown.removed[0].reason if grown.removed else step.stopped or "no answer"
            raise DatasetError(
                f"none of the {len(grown.removed):,} answers became a row; of the first: {why}.",
                source=self.name,
                hint="The answers are kept: change check, labels or max_similarity, or ask in another way.",
            )
        table = table_of(enumerate(grown.rows, start=1), source=step.source)
        own, rows = ready_rows(table, messages_maker("messages", None), step.source, BadRows())
        joined = join_tables((self._table, self._source.location), (own, step.source))
        return self._derived(joined, self._rows + rows, Step(augment=step), format="chat", dropped=grown.removed)


def _budget(budget_usd: Decimal | float | None) -> Decimal | None:
    if budget_usd is None:
        return None
    check_amount("budget_usd", budget_usd, above=0)
    return exact_amount(budget_usd)


def _temperature(temperature: float | None) -> float | None:
    if temperature is None:
        return None
    check_amount("temperature", temperature, at_least=0, at_most=100)
    return float(temperature)


def _asked(model: NamedModel) -> AskedModel:
    return AskedModel(model=model.name) if model.url is None else AskedModel(model=model.name, endpoint=model.url)


def _spent(meter: SpendMeter, *models: NamedModel) -> Decimal | None:
    """Return what was spent; None if the price of an endpoint isn't known."""
    is_known = all(model.price is not None or not model.is_billed for model in models)
    return meter.spent_usd.quantize(Decimal("0.000001")) if is_known else None


def _stopped(meter: SpendMeter, missing: int, of: int, what: str) -> str | None:
    if not meter.is_reached or meter.budget_usd is None:
        return None
    spent = money(meter.spent_usd)
    return f"budget_usd={meter.budget_usd} was reached after {spent}: {missing:,} of {of:,} {what} weren't asked"
