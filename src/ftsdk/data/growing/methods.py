"""What `Dataset` can do to have more or other rows: mix, put contexts into prompts, plant canaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import index as as_int
from typing import TYPE_CHECKING, Any, cast

from ftsdk.data.argument_checks import checked_number, checked_seed, checked_whole
from ftsdk.data.bad_rows import BadRows
from ftsdk.data.canonical import chat_rows
from ftsdk.data.growing.canaries import Canary
from ftsdk.data.growing.context import NO_PASSAGES, SEPARATOR, TEMPLATE, Contexts
from ftsdk.data.growing.general import general_table
from ftsdk.data.growing.mix import MOST_ROWS, mixed_positions
from ftsdk.data.growing.model_methods import GrowingByModels
from ftsdk.data.growing.planted import checked_times, planted, planted_canaries, planted_positions
from ftsdk.data.message_rows import message_rows
from ftsdk.data.rows import Rows
from ftsdk.data.sources import Source
from ftsdk.data.steps import CanaryStep, ContextStep, MixStep, Step
from ftsdk.data.table import join_tables, room_on_disk
from ftsdk.errors import DatasetError

if TYPE_CHECKING:
    from ftsdk.data.dataset import Dataset

__all__ = ["Growing"]

_MOST_DISTRACTORS = 1_000


class Growing(GrowingByModels):
    """Rows that can be mixed and grown; the public class is `Dataset`."""

    __slots__ = ()

    @classmethod
    def general(cls) -> Dataset:
        """Return 200 short general instructions with answers, in English, to mix in against forgetting.

        Written for ftsdk and under its licence, Apache-2.0: facts, arithmetic, rewriting, code, lists, advice.
        """
        from ftsdk.data.dataset import Dataset

        return Dataset(general_table(), Source(name="general", location="general", recipe={"included": "general"}))

    @classmethod
    def mix(
        cls, shares: Mapping[Dataset, float], rows: int | None = None, seed: int = 0, *, repeat: bool = False
    ) -> Dataset:
        """Mix datasets by shares of the rows, in random order.

            >>> Dataset.mix({emails: 0.9, Dataset.general(): 0.1})

        Args:
            shares: Two datasets or more of the same format, each with its share; the shares sum to 1.
            rows: Rows of the mix. None: as many as the parts have without repeats.
            seed: Which rows of each part are drawn, and their order.
            repeat: Let rows of a part that is too small appear more than once.

        Raises:
            DatasetError: The shares aren't a mix, the formats differ, a part has too few rows, or a number is out of
                range.
        """
        parts = list(shares)
        if len(parts) < 2:
            raise DatasetError("a mix needs two datasets or more.", hint="Pass {one: 0.9, other: 0.1}.")
        joined = parts[0]
        for part in parts[1:]:
            joined = joined + part
        weights = tuple(checked_number("the share of " + repr(part.name), share) for part, share in shares.items())
        seed = checked_seed(seed)
        if rows is not None:
            rows = checked_whole("rows", rows, at_least=1, at_most=MOST_ROWS)
        return joined._mixed(parts, MixStep.of(shares=weights, rows=rows, seed=seed, repeat=repeat))

    def mix_again(self, step: MixStep) -> Dataset:
        """Repeat a mix of a recipe on its parts, which follow each other here; see `from_dict`.

        Raises:
            DatasetError: These are other parts, or one of them has too few rows.
        """
        joined, parts = cast("Dataset", self), list[Any]()
        while len(parts) < len(step.shares) - 1 and joined.parts and not joined.steps:
            joined, last = joined.parts
            parts.insert(0, last)
        parts.insert(0, joined)
        if len(parts) != len(step.shares):
            raise DatasetError(
                f"the recipe mixes {len(step.shares)} parts, and has {len(parts)}.",
                source=self.name,
                hint="List the parts under concat, in the order of the shares.",
            )
        return self._mixed(parts, step)

    def with_context(
        self,
        passages: str,
        *,
        wrong: float = 0.0,
        empty: float = 0.0,
        unanswerable: str | None = None,
        distractors: int = 0,
        template: str = TEMPLATE,
        separator: str = SEPARATOR,
        no_passages: str = NO_PASSAGES,
        seed: int = 0,
    ) -> Dataset:
        """Put retrieved passages into the prompts, as a RAG system does, with a share of wrong and of missing ones.

        Rows that get wrong passages, or none, have `unanswerable` for an answer, so that the model learns to admit it.
        Split first: wrong passages and distractors come from the other rows.

        Args:
            passages: The column with the right passages of each row: a text, or a list of texts.
            wrong: Share of the rows whose passages are replaced by those of other rows, which don't hold the answer.
            empty: Share of the rows without passages.
            unanswerable: What is answered there, such as "The context doesn't say."
            distractors: Wrong passages among the right ones of each row, in random order.
            template: How the last user message is written, with `{context}` and `{question}`.
            separator: What stands between passages.
            no_passages: What stands in place of passages where there are none.
            seed: Which rows get which passages.

        Raises:
            DatasetError: The rows aren't chat rows, there is no such column, a row has no passage, a number is out of
                range, or there are too few different passages.
        """
        wrong = checked_number("wrong", wrong, at_least=0, at_most=1, source=self.name)
        empty = checked_number("empty", empty, at_least=0, at_most=1, source=self.name)
        distractors = checked_whole("distractors", distractors, at_least=0, at_most=_MOST_DISTRACTORS, source=self.name)
        seed = checked_seed(seed, source=self.name)
        step = ContextStep.of(
            passages=passages,
            wrong=wrong,
            empty=empty,
            unanswerable=unanswerable,
            distractors=distractors,
            template=None if template == TEMPLATE else template,
            separator=None if separator == SEPARATOR else separator,
            no_passages=None if no_passages == NO_PASSAGES else no_passages,
            seed=seed,
        )
        contexts = Contexts(step, template=template, separator=separator, no_passages=no_passages)
        found = contexts.rows(self._rows, self._table, format=self._format, source=self._source.location)
        with room_on_disk(self._source.location):
            rows = message_rows(found)
        return self._derived(self._table, rows, Step(context=step), format="chat")

    def with_canaries(self, n: int, seed: int = 0, *, times: Sequence[int] = (1,)) -> Dataset:
        """Plant unique rows, to measure later how much of its training data a model gives back.

        `canaries` has the record that an audit needs, and so has `lineage`. Split first, so that all of them are
        trained on.

        Args:
            n: How many canaries; with repetitions at most a million rows.
            seed: Decides their texts and where they stand among the rows.
            times: How often each is repeated, in turns; `(1, 4, 16)` shows how memorisation grows.

        Raises:
            DatasetError: The rows aren't chat rows, or `n` or `times` is out of range.
        """
        seed = checked_seed(seed, source=self.name)
        repeats = checked_times(n, times, source=self.name)
        step = CanaryStep(n=as_int(n), seed=seed, times=repeats)
        table = planted(step, format=self._format, source=self.name)
        own, rows = chat_rows(
            table, "canaries", BadRows(), prompt="{prompt}", completion="{completion}", system=None, messages=None
        )
        order = planted_positions(len(self), len(rows), seed)
        joined = join_tables((self._table, self._source.location), (own, "canaries"))
        return self._derived(joined.at(order), (self._rows + rows).at(order), Step(canaries=step), format="chat")

    @property
    def canaries(self) -> tuple[Canary, ...]:
        """The canaries that were planted on the way here, whether or not their rows were left out since."""
        return planted_canaries(self)

    def _mixed(self, parts: Sequence[Rows], step: MixStep) -> Dataset:
        positions = mixed_positions([(part.name, len(part)) for part in parts], step)
        return self._selected(positions, Step(mix=step))
