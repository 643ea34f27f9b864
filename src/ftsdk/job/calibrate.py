"""`ftsdk calibrate`: a few training steps on this machine, so that estimates for it are measured."""

from __future__ import annotations

from ftsdk.cost.training.calibration import Calibration, read_calibration, software_version
from ftsdk.data import Dataset
from ftsdk.errors import SpecError
from ftsdk.job.job import FineTuneJob
from ftsdk.protocol import Backend
from ftsdk.spec import LoRA, Tuning

__all__ = ["calibrate"]

_TEXT = (
    "the order came late and one of the cups was broken so please send another or give the money back thank you very "
    "much"
)
_WORDS = (16, 160)
"""Words per row: few, where the overhead per kernel dominates, and many, where it doesn't."""
_ROWS = 4
"""Rows per step."""


def calibrate(
    model: str,
    *,
    steps: int = 20,
    tuning: Tuning | None = None,
    backend: str | Backend = "local",
    progress: bool = True,
) -> Calibration:
    """Train a few steps on short and on long rows, and store the ratio of measured to estimated time.

    The result applies to the device's name and its software versions, and only roughly to other tunings.

    Args:
        model: A model that is downloaded already, similar to the one that will be tuned.
        steps: Optimizer steps, at least 16: the first ones of each half don't count.
        tuning: The tuning to measure; None means LoRA.
        backend: A backend that plans its hardware.
        progress: Show a progress bar.

    Raises:
        SpecError: There are too few steps, or the backend doesn't plan its hardware.
        RunFailedError: A step failed.
    """
    if steps < 16:
        raise SpecError(f"steps={steps}: at least 16 are needed, since the first ones load kernels and don't count")
    found: Calibration | None = None
    for words in _WORDS:
        job = _job(model, words, steps // 2, tuning or LoRA(), backend)
        plan = job.plan()
        if plan.hardware is None:
            raise SpecError(
                f"backend {plan.backend!r} doesn't say what hardware it trains on, so there is nothing to calibrate"
            )
        name, software = plan.hardware.name, software_version()
        before = read_calibration(name, software=software)
        job.submit().wait(progress=progress)
        found = read_calibration(name, software=software)
        if found is None or found == before:
            raise SpecError(
                "the probe run ended without enough steps to measure; run `ftsdk calibrate` again with more steps="
            )
    assert found is not None
    return found


def _job(model: str, words: int, steps: int, tuning: Tuning, backend: str | Backend) -> FineTuneJob:
    text = _TEXT.split()
    texts = [" ".join((text * (1 + words // len(text)))[n % 5 : n % 5 + words]) for n in range(_ROWS * steps)]
    rows = Dataset.from_rows(
        [{"text": f"{text} {n}", "answer": "ab"[n % 2]} for n, text in enumerate(texts)], name="probe"
    ).as_chat(prompt="{text}", completion="{answer}")
    # One checkpoint, since writing it is part of a run's time.
    return FineTuneJob(
        name="calibrate",
        model=model,
        train=rows,
        epochs=1,
        max_steps=steps,
        batch_size=_ROWS,
        checkpoint_steps=max(1, steps - 2),
        backend=backend,
        tuning=tuning,
    )
