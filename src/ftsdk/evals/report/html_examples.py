"""The examples of a report as HTML: the answers of all targets side by side, with what differs from the reference."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from difflib import SequenceMatcher

from ftsdk._format import Html, escaped
from ftsdk.evals.report.parts import AnswerShown, ExampleList, ExampleShown

__all__ = ["EXAMPLE_STYLE", "examples_html"]

EXAMPLE_STYLE = (
    ".ftsdk .example{border:1px solid rgba(128,128,128,.35);border-radius:6px;padding:.5em .8em;margin:.7em 0}"
    ".ftsdk .side{display:grid;grid-template-columns:repeat(auto-fit,minmax(15em,1fr));gap:.6em 1.2em}"
    ".ftsdk .side>div{min-width:0}.ftsdk .who{font-size:.85em;margin-top:.3em}"
    # Each text has a direction of its own, so that one can't turn those around it.
    ".ftsdk .text{white-space:pre-wrap;overflow-wrap:anywhere;max-height:14em;overflow-y:auto;"
    "unicode-bidi:isolate;font-size:.95em}"
    ".ftsdk .prompt{opacity:.8}.ftsdk .right{border-left:3px solid #059669;padding-left:.6em}"
    ".ftsdk .wrong{border-left:3px solid #dc2626;padding-left:.6em}"
    ".ftsdk .between{border-left:3px solid #d97706;padding-left:.6em}"
    ".ftsdk mark{background:#dc262633;color:inherit;border-radius:2px}"
    ".ftsdk del{opacity:.6;text-decoration-color:#dc2626}"
)
_MOST_WORDS = 600
"""Of two texts that are compared word by word; it takes time that grows with the square."""
_LEAST_ALIKE = 0.35
"""Below this share of common words, marking what differs would mark nearly all."""
_WORD = re.compile(r"\s+|\w+|[^\w\s]")


def examples_html(
    lists: Sequence[ExampleList], examples: Sequence[ExampleShown], *, has_scale: Collection[str] = ()
) -> str:
    """Return the lists of the compared target, each example once; of the other targets only what has no answer.

    Args:
        lists: The lists of all evals.
        examples: Their examples.
        has_scale: The evals on whose scale 1 is right and 0 is wrong.
    """
    if not lists:
        return ""
    shown = {(one.name, one.index): one for one in examples}
    subject = {one.name: one.target for one in lists if one.kind in ("lost", "won", "best")}
    seen: set[tuple[str, int]] = set()
    parts: list[str] = []
    for one in lists:
        if one.kind == "worst" and subject.get(one.name, one.target) != one.target:
            continue
        fresh = [index for index in one.indexes if one.kind == "failed" or (one.name, index) not in seen]
        seen |= {(one.name, index) for index in fresh}
        if not fresh:
            continue
        rest = one.total - len(fresh)
        note = (
            f' <span class="muted">showing {len(fresh)} of {one.total:,}; the others are above or in the files</span>'
            if rest
            else ""
        )
        cards = "".join(_example(shown[one.name, index], one, has_scale=one.name in has_scale) for index in fresh)
        is_open = " open" if one.kind in ("lost", "failed") else ""
        parts.append(f"<details{is_open}><summary><b>{escaped(_title(one))}</b>{note}</summary>{cards}</details>")
    marks = '<p class="muted">Marked: words that the reference doesn\'t have; struck out: words that are missing.</p>'
    return f"<h4>Answers to read</h4>{marks}{''.join(parts)}"


def _title(one: ExampleList) -> str:
    titles = {
        "lost": f"{one.target} did worse than {one.other}",
        "won": f"{one.target} did better than {one.other}",
        "failed": f"No answer from {one.target}",
        "worst": f"Worst answers of {one.target}",
        "best": f"Best answers of {one.target}",
    }
    return f"{one.name}: {titles[one.kind]} ({one.total:,})"


def _example(example: ExampleShown, chosen: ExampleList, *, has_scale: bool) -> str:
    by_relevance = sorted(
        example.answers, key=lambda answer: (answer.target != chosen.target, answer.target != chosen.other)
    )
    answers = "".join(_answer(answer, example.expected, has_scale=has_scale) for answer in by_relevance)
    return (
        f'<div class="example"><div class="who muted">row {example.index + 1}</div>'
        f'<div class="text prompt" dir="auto">{escaped(example.prompt)}</div><div class="side">'
        '<div><div class="who muted">reference</div>'
        f'<div class="text" dir="auto">{escaped(example.expected)}</div></div>'
        f"{answers}</div></div>"
    )


def _answer(answer: AnswerShown, expected: str, *, has_scale: bool) -> str:
    kind = "between"
    if answer.error is not None or (has_scale and answer.value == 0):
        kind = "wrong"
    elif has_scale and answer.value == 1:
        kind = "right"
    text = escaped(f"no answer: {answer.error}") if answer.error is not None else _compared(answer.output, expected)
    return (
        f'<div class="{kind}"><div class="who muted">{escaped(answer.target)} '
        f'· {answer.value:.3g} · {escaped(answer.reason)}</div><div class="text" dir="auto">{text}</div></div>'
    )


def _compared(output: str, expected: str) -> Html:
    """Return an answer with its differences from the reference marked, where the two are alike enough for that."""
    mine, right = _WORD.findall(output), _WORD.findall(expected)
    if not output:
        return Html('<span class="muted">(empty)</span>')
    if output == expected or len(mine) + len(right) > _MOST_WORDS:
        return escaped(output)
    matcher = SequenceMatcher(None, right, mine, autojunk=False)
    if matcher.ratio() < _LEAST_ALIKE:
        return escaped(output)
    parts: list[str] = []
    for what, a, b, c, d in matcher.get_opcodes():
        added, missing = "".join(mine[c:d]), "".join(right[a:b])
        if what == "equal":
            parts.append(escaped(added))
            continue
        parts.append(f"<del>{escaped(missing)}</del>" if missing.strip() else "")
        parts.append(f"<mark>{escaped(added)}</mark>" if added else "")
    return Html("".join(parts))
