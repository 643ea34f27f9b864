"""What a planned job takes and costs, with the tokens of its own rows."""

from __future__ import annotations

from decimal import Decimal
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ftsdk.data import Dataset
from ftsdk.errors import ModelError
from ftsdk.job.rendered_rows import guesses_of
from ftsdk.protocol import Backend, CanQuote, Plan
from ftsdk.protocol.estimates import QUOTED_LATER
from ftsdk.spec import JobSpec

if TYPE_CHECKING:
    from ftsdk.cost.training.tokens import RowTokens

__all__ = ["estimated"]


def estimated(
    plan: Plan,
    backend: Backend,
    train: Dataset,
    validation: Dataset | None,
    *,
    is_exact: bool | None,
    usd_per_hour: Decimal | None = None,
) -> Plan:
    """Return a plan with its estimate of tokens, time, memory and cost.

    Args:
        plan: The plan.
        backend: The backend that made it.
        train: The rows to learn from.
        validation: The rows to measure the loss on.
        is_exact: Whether tokens are counted with the model's tokenizer; None: if it is on this machine.
        usd_per_hour: US dollars per hour of the hardware, in place of the backend's list price.

    Raises:
        ModelError: The model is incomplete, or `is_exact` is True and its tokenizer can't be used.
        DatasetError: Training would refuse the rows.
    """
    from ftsdk.cost.training.calibration import read_calibration, software_version
    from ftsdk.cost.training.estimate import estimate
    from ftsdk.cost.training.tokens import text_sample, tokens_from_guesses
    from ftsdk.models import inspect_model, load_tokenizer

    spec = plan.spec
    facts = inspect_model(spec.model)
    limit = spec.max_length or facts.max_position_embeddings
    datasets = (train, validation)
    parts: list[RowTokens | None] = []
    note = ""
    if is_exact is True or (is_exact is None and facts.is_downloaded and find_spec("transformers") is not None):
        try:
            tokenizer = load_tokenizer(spec.model)
        except ModelError as error:
            if is_exact is True:
                raise
            note = f"the tokenizer couldn't be used, so tokens are guessed: {error}"
        else:
            # What training would refuse is refused here, with the same message.
            parts = [None if data is None else _count_tokens(data, spec, tokenizer) for data in datasets]
    parts = parts or [
        None
        if data is None or ref is None
        else tokens_from_guesses(guesses_of(data, ref), max_length=limit, sample=text_sample(data.rows))
        for data, ref in zip(datasets, (spec.train, spec.validation), strict=True)
    ]
    assert parts[0] is not None
    known = None if plan.hardware is None else read_calibration(plan.hardware.name, software=software_version())
    found = estimate(plan, facts, parts[0], validation=parts[1], calibration=known, usd_per_hour=usd_per_hour)
    if not isinstance(backend, CanQuote):
        found = found.replace(notes=tuple(other for other in found.notes if other != QUOTED_LATER))
    found = found.replace(notes=(*found.notes, note)) if note else found
    return plan.replace(estimate=found)


def _count_tokens(data: Dataset, spec: JobSpec, tokenizer: Any) -> RowTokens:
    from ftsdk.cost.training.tokens import tokens_through
    from ftsdk.models import rendering_options

    return tokens_through(
        data.rows,
        tokenizer,
        train_on=spec.method.rendered_train_on,
        max_truncated=spec.max_truncated,
        **rendering_options(spec.model, tokenizer, max_length=spec.max_length),
    )
