"""Build a report: one pass over the rows, then the checks that compare them."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from typing import Any

from ftsdk.data.labels import MOST_SPELLINGS, are_labels
from ftsdk.data.leak_check import JudgedBy
from ftsdk.data.report.coverage import coverage_finding
from ftsdk.data.report.data_report import DataReport
from ftsdk.data.report.excerpts import Excerpts
from ftsdk.data.report.finding import SEVERITIES, Finding
from ftsdk.data.report.label_checks import label_findings
from ftsdk.data.report.leak_findings import leak_findings
from ftsdk.data.report.learning_curve import NO_RUN
from ftsdk.data.report.lengths import TokenCounter, counted_lengths, guessed_lengths, length_findings
from ftsdk.data.report.row_checks import RowChecks
from ftsdk.data.report.row_texts import RowTexts, read_chunks
from ftsdk.data.report.set_checks import answer_findings, duplicate_findings
from ftsdk.data.rows import Rows
from ftsdk.errors import MissingExtraError

__all__ = ["build_report", "counter_for"]


def build_report(
    dataset: Rows,
    *,
    counter: TokenCounter | None = None,
    max_length: int | None = None,
    max_truncated: float = 0.01,
    judges: Sequence[JudgedBy] = (),
    queries: Sequence[str] = (),
    enough: str = NO_RUN,
) -> DataReport:
    """Check a dataset.

    Args:
        dataset: The rows.
        counter: Counts tokens; None guesses them.
        max_length: Tokens that are kept of a row, for guesses; `counter` has its own.
        max_truncated: The share of rows above which truncation is an error.
        judges: Datasets that a model will be judged by.
        queries: What users ask.
        enough: Whether there are enough rows; see `enough_rows`.

    Raises:
        DatasetError: `judges` or `counter` is given, and the rows are still a table.
        ModelError: The tokenizer or its template can't be used.
    """
    if judges or counter is not None:
        _ = dataset.canonical  # refuses a table, with what to call
    rows = RowChecks(dataset)
    answers: Counter[str] = Counter()
    prompts = _prompts(dataset, rows, answers)
    if dataset.format == "table":
        texts = RowTexts.of_cells(prompts)
    else:
        deque(prompts, maxlen=0)
        texts = RowTexts.of_messages(dataset.canonical, dataset.format)
    excerpts = Excerpts(dataset, texts.prompts)
    not_checked: list[str] = []
    is_labelled = dataset.format == "chat" and are_labels(answers, len(dataset))
    languages, findings = rows.languages(excerpts, not_checked)
    findings += rows.findings()
    findings += duplicate_findings(dataset, texts, excerpts, not_checked)
    findings += answer_findings(dataset, texts, excerpts, is_labelled=is_labelled)
    if is_labelled:
        findings += label_findings(texts.prompts, texts.answers, excerpts, not_checked)
    elif dataset.format == "table":
        not_checked.append(f"prompts, answers and labels: the rows are still a table. {dataset.shape_hint}")
    rendered: dict[str, list[int]] = {}
    if counter is None:
        lengths, tokens = guessed_lengths(dataset, max_length)
    else:
        lengths, tokens, rendered = counted_lengths(dataset, counter)
    findings += length_findings(lengths, tokens, rendered, excerpts, max_truncated=max_truncated)
    findings += leak_findings(dataset, judges)
    if queries:
        try:
            uncovered = coverage_finding(texts.prompts, list(queries))
        except MissingExtraError as error:
            not_checked.append(f"coverage of queries: {error}")
        else:
            findings += [] if uncovered is None else [uncovered]
    return DataReport(
        name=dataset.name,
        format=dataset.format,
        rows=len(dataset),
        columns=dataset.columns,
        lengths=lengths,
        classes=tuple(answers.most_common()) if is_labelled else (),
        languages=tuple(languages.items()),
        findings=tuple(sorted(findings, key=_worst_first)),
        enough=enough,
        against=tuple((judge.label, len(judge.rows)) for judge in judges if isinstance(judge.rows, Rows)),
        not_checked=tuple(not_checked),
    )


def counter_for(model: Any, *, max_length: int | None) -> TokenCounter:
    """Return how rows are counted for a model, with its tokenizer and template.

    Args:
        model: A hub id, a folder, a GGUF file, or a `Model`.
        max_length: Tokens that are kept of a row; None: as many as the model reads.

    Raises:
        ModelError: The model isn't found, or its tokenizer can't be used.
    """
    from ftsdk.models import load_tokenizer, rendering_options
    from ftsdk.spec import Model

    chosen = model if isinstance(model, Model) else Model(id=str(model))
    tokenizer = load_tokenizer(chosen)
    return TokenCounter(
        tokenizer=tokenizer,
        name=chosen.id,
        **rendering_options(chosen, tokenizer, max_length=max_length),
    )


def _prompts(dataset: Rows, checks: RowChecks, answers: Counter[str]) -> Iterator[str]:
    """Yield the prompt of each row after checking it; count its answer while they may be labels."""
    for chunk in checks.look_at_all(read_chunks(dataset.rows, dataset.format)):
        if len(answers) <= MOST_SPELLINGS:
            answers.update(chunk.answers)
        yield from chunk.prompts


def _worst_first(finding: Finding) -> tuple[int, float, str]:
    return SEVERITIES.index(finding.severity), -finding.share, finding.code
