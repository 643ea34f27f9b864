"""Base and tuned model on this machine, loaded when they are needed and no earlier."""

from __future__ import annotations

import contextlib
import gc
import hashlib
from collections.abc import Callable, Generator
from typing import Any

from ftsdk.evals.generation import TransformersGenerator
from ftsdk.evals.runner import Subject
from ftsdk.models import eos_token_ids, load_model, load_tokenizer, materialize, max_length_of, model_identity
from ftsdk.spec import Model

__all__ = ["local_subject", "local_subjects"]


def local_subject(
    name: str, model: Model, *, device: str | None = None, dtype: str | None = None, on_message: Callable[[str], None] | None = None
) -> Subject:
    """Give one model on this machine as a subject of that name, to be measured by `evaluate`; see `local_subjects`."""
    loader = _Loader(model, device=device, dtype=dtype, on_message=on_message)
    return Subject(name=name, identity=_identity(model, f"{device or 'auto'}/{dtype or 'auto'}"), open=loader.open_and_free)


def local_subjects(
    base: Model, tuned: Model, *, device: str | None = None, dtype: str | None = None, on_message: Callable[[str], None] | None = None
) -> tuple[Subject, Subject]:
    """Give the subjects `"base"` and `"tuned"`, to be measured by `evaluate`.

    If the tuned model is the base with an adapter on top, the weights are loaded once and the adapter is switched off for the base.
    Otherwise each is loaded in its turn and freed before the next.

    Args:
        base: The model that the run started from.
        tuned: What came out of it.
        device: As torch calls it; None picks the best one at hand.
        dtype: `"bfloat16"`, `"float16"` or `"float32"`; None picks what the device is good at.
        on_message: Told what takes long.

    Raises:
        ModelError: A model isn't there or isn't whole.
    """
    loader = _Loader(tuned, device=device, dtype=dtype, on_message=on_message)
    base_loader = _Loader(base, device=device, dtype=dtype, on_message=on_message)
    is_shared = base.adapter is None and tuned.adapter is not None and tuned.replace(adapter=None) == base.replace(adapter=None)
    open_base = loader.open_without_adapter if is_shared else base_loader.open_and_free
    settings = f"{device or 'auto'}/{dtype or 'auto'}"
    return (
        Subject(name="base", identity=_identity(base, settings), open=open_base),
        Subject(name="tuned", identity=_identity(tuned, settings), open=loader.open_and_free),
    )


class _Loader:
    """Holds one loaded model from its first use until it is freed."""

    def __init__(self, model: Model, *, device: str | None, dtype: str | None, on_message: Callable[[str], None] | None) -> None:
        self._spec = model
        self._device = device
        self._dtype = dtype
        self._on_message = on_message
        self._loaded: tuple[Any, TransformersGenerator] | None = None

    def _load(self) -> tuple[Any, TransformersGenerator]:
        if self._loaded is None:
            tokenizer = load_tokenizer(self._spec, on_message=self._on_message)
            model = load_model(self._spec, dtype=self._dtype, device=self._device)
            ends = eos_token_ids(tokenizer, materialize(self._spec))
            limit = max_length_of(self._spec, tokenizer)
            self._loaded = model, TransformersGenerator(model, tokenizer, eos_token_ids=ends, max_length=limit)
        return self._loaded

    @contextlib.contextmanager
    def open_without_adapter(self) -> Generator[TransformersGenerator]:
        """The base under the adapter; what was loaded stays for `open_and_free`."""
        model, generator = self._load()
        with model.disable_adapter():
            yield generator

    @contextlib.contextmanager
    def open_and_free(self) -> Generator[TransformersGenerator]:
        """The model as it is; its memory is given back afterwards."""
        try:
            yield self._load()[1]
        finally:
            self._loaded = None
            gc.collect()
            _empty_gpu_cache()


def _empty_gpu_cache() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _identity(model: Model, settings: str) -> str:
    return hashlib.sha256(f"{model_identity(model)}/{settings}".encode()).hexdigest()
