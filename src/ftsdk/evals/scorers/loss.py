"""`loss`: the mean negative log-probability of a token of the reference; lower is better."""

from __future__ import annotations

from ftsdk.evals.examples import Example
from ftsdk.evals.likelihood import Likelihood
from ftsdk.evals.scorers.scorer import Score, scorer

__all__ = ["loss"]


@scorer(is_unbounded=True, is_lower_better=True, reads="likelihood")
def loss(example: Example, answer: str) -> Score:
    """Score the loss per token of the reference after its prompt, in nats, as the training loss counts it.

    Nothing is generated. `parts` has the summed log-probability and the tokens, from which the metric `perplexity` is
    computed. Only models on this machine tell them.

    Args:
        example: The prompt with its reference.
        answer: The likelihood of the reference, as JSON.
    """
    del example
    found = Likelihood.from_json(answer)
    parts = {"log_probability": found.log_probability, "tokens": float(found.tokens)}
    return Score(found.loss, f"{found.tokens} tokens", parts=parts)
