"""Whether the requests of a workload fit a model's context window."""

from __future__ import annotations

from ftsdk.errors import SpecError

__all__ = ["context_notes"]


def context_notes(model: str, window: int | None, tokens: float, *, advice: str) -> tuple[str, ...]:
    """Return a note on requests that nearly fill the context window.

    Args:
        model: The model, as the user named it.
        window: Its context window in tokens; None: not known.
        tokens: Prompt and answer of the mean request, in tokens.
        advice: What to do if they don't fit, besides a shorter prompt.

    Raises:
        SpecError: The mean request doesn't fit.
    """
    if window is None or tokens <= window / 2:
        return ()
    if tokens > window:
        raise SpecError(
            f"a request of {tokens:,.0f} tokens doesn't fit the context window of {model}, {window:,}: shorten the "
            f"prompt, or {advice}"
        )
    return (
        f"{model} has a context window of {window:,} tokens, and the mean request fills {tokens / window:.0%} of it: "
        "longer ones may not fit",
    )
