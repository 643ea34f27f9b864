"""`ftsdk calibrate`: a few steps on the machine at hand, so that estimates for it are measured and not looked up."""

from __future__ import annotations

from ftsdk.backends.base import Backend
from ftsdk.cost.training.calibration import Calibration, read_calibration, software_version
from ftsdk.data import Dataset
from ftsdk.errors import SpecError
from ftsdk.job import FineTuneJob
from ftsdk.spec import LoRA, Tuning

__all__ = ["calibrate"]

_WORDS = "the order came late and one of the cups was broken so please send another or give the money back thank you very much "


def calibrate(
    model: str, *, steps: int = 20, tuning: Tuning | None = None, words: int = 60, backend: str | Backend = "local", progress: bool = True
) -> Calibration:
    """Make probe steps, and keep what the device is off by, for its name and its software.

    Args:
        model: What to make them with: a model that is at hand, of the kind that will be tuned.
        steps: Optimizer steps, at least 8: the first ones are left out.
        tuning: As it will be; None is LoRA.
        words: Length of the rows, about a token each.
        backend: Where; a place with hardware of its own.
        progress: Show it.

    Raises:
        SpecError: Too few steps, or the place says nothing of its hardware.
        RunFailedError: A step failed.
    """
    if steps < 8:
        raise SpecError(f"steps={steps}: at least 8 are needed, since the first ones load kernels and don't count")
    texts = [" ".join((_WORDS * (1 + words // 20)).split()[n % 7 : n % 7 + words]) for n in range(4 * steps)]
    rows = Dataset.from_rows([{"text": text, "answer": f"number {n}"} for n, text in enumerate(texts)], name="probe").as_chat(
        prompt="{text}", completion="{answer}"
    )
    job = FineTuneJob(name="calibrate", model=model, train=rows, epochs=1, max_steps=steps, batch_size=4, backend=backend, tuning=tuning or LoRA())
    plan = job.plan()
    if plan.hardware is None:
        raise SpecError(f"backend {plan.backend!r} doesn't say what hardware it trains on, so there is nothing to calibrate")
    before = read_calibration(plan.hardware.name, software=software_version())
    job.submit().wait(progress=progress)
    found = read_calibration(plan.hardware.name, software=software_version())
    if found is None or found == before:
        raise SpecError("the probe run ended without enough steps to measure; run `ftsdk calibrate` again with more steps=")
    return found
