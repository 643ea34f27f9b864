"""The rules by name: why each matters, and what fixes it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["RULES", "Rule"]

_GOPHER = "https://arxiv.org/abs/2112.11446, appendix A1.1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """A rule that texts, rows or a whole dataset may break."""

    name: str
    title: str
    """What it finds, as a heading: `"cut-off texts"`."""
    why: str
    """Why it matters for training, as a sentence."""
    step: str | None
    """The step of `Dataset.clean` that fixes it; None: only a person can."""
    is_safe: bool = False
    """Whether that step loses nothing, and runs by default."""
    source: str | None = None
    """Where the rule comes from."""


_ALL = (
    Rule(
        name="empty",
        title="empty texts",
        why="An empty answer teaches the model to end at once; an empty prompt teaches it to answer nothing.",
        step="empty",
        is_safe=True,
    ),
    Rule(
        name="very_short",
        title="texts far shorter than the others",
        why="Answers much shorter than the rest are often placeholders such as 'n/a' or failed exports.",
        step="length",
    ),
    Rule(
        name="very_long",
        title="texts far longer than the others",
        why="Long rows are truncated at max_length, and one of them sets the memory of its whole batch.",
        step="length",
    ),
    Rule(
        name="cut_off",
        title="cut-off texts",
        why="Answers that stop in mid-sentence teach the model to stop there.",
        step="cut_off",
    ),
    Rule(
        name="template_leftover",
        title="leftovers of templates",
        why="Unfilled fields, chat markers and stock phrases of other models are learned word for word.",
        step="template_leftover",
    ),
    Rule(
        name="unclosed_fence",
        title="unclosed code fences",
        why="The model learns to leave code blocks open, which breaks rendering and parsers behind it.",
        step="unclosed_fence",
    ),
    Rule(
        name="invalid_json",
        title="invalid JSON where most answers are JSON",
        why="One broken example in a hundred is enough for answers that don't parse.",
        step="invalid_json",
    ),
    Rule(
        name="broken_encoding",
        title="broken encoding",
        why="Text that was decoded wrongly ('Ã©' for 'é') is learned as it stands, and wastes tokens.",
        step="encoding",
        is_safe=True,
    ),
    Rule(
        name="lost_characters",
        title="characters that were lost in decoding (U+FFFD)",
        why="What stood there is gone; the model learns the replacement character.",
        step="lost_characters",
    ),
    Rule(
        name="repetition",
        title="repeated lines or phrases",
        why="Loops in the data become loops in the answers.",
        step="repetition",
        source=_GOPHER,
    ),
    Rule(
        name="label_variants",
        title="labels that differ by case or blanks alone",
        why="The model spends probability on choosing between spellings, and exact-match scores drop.",
        step="labels",
    ),
    Rule(
        name="class_balance",
        title="unbalanced classes",
        why="A class with few examples is rarely predicted, and one with most of them is predicted too often.",
        step=None,
    ),
    Rule(
        name="label_errors",
        title="labels that are probably wrong",
        why="Wrong labels are learned, and in a test split they hide which model is better. Read these first: a hard "
        "row with the right label looks the same.",
        step="label_errors",
        source="https://doi.org/10.1613/jair.1.12125",
    ),
    Rule(
        name="role_order",
        title="conversations in the wrong order",
        why="A chat template refuses such rows or renders them in a form that serving never sends.",
        step="role_order",
    ),
    Rule(
        name="language",
        title="rows in another language than most",
        why="A few rows in another language make the model switch languages at random.",
        step="language",
    ),
)

RULES: dict[str, Rule] = {rule.name: rule for rule in _ALL}
"""All rules by name, in the order of a report."""
