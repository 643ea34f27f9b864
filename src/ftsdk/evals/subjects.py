"""From what a user has, a model on this machine or an endpoint somewhere, to the two subjects of a comparison."""

from __future__ import annotations

from ftsdk.evals.endpoint import Endpoint
from ftsdk.evals.local import local_subject, local_subjects
from ftsdk.evals.runner import Subject
from ftsdk.spec import Model

__all__ = ["subjects"]


def subjects(base: Model | Endpoint, tuned: Model | Endpoint) -> tuple[Subject, Subject]:
    """Give the subjects `"base"` and `"tuned"`, to be measured by `evaluate`.

    An endpoint has no tokenizer at hand, so where an eval leaves `max_new_tokens` open its answers may be longer than those of a
    local model: up to the bytes of the longest reference, and a margin. Set `max_new_tokens` to hold both to the same limit.

    Args:
        base: A model to be loaded on this machine, or an endpoint that serves it.
        tuned: The same for what came out of the run.

    Raises:
        ModelError: A model isn't there or isn't whole.
    """
    match base, tuned:
        case Model(), Model():
            return local_subjects(base, tuned)
        case _:
            return _subject("base", base), _subject("tuned", tuned)


def _subject(name: str, model: Model | Endpoint) -> Subject:
    return model.subject(name) if isinstance(model, Endpoint) else local_subject(name, model)
