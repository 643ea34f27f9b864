"""Base and tuned model on this machine, loaded on first use."""

from __future__ import annotations

import contextlib
import gc
import hashlib
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from ftsdk.evals.local_generation import TransformersGenerator
from ftsdk.models import (
    eos_token_ids,
    has_own_embeddings,
    load_model,
    load_tokenizer,
    materialize,
    max_length_of,
    model_identity,
)
from ftsdk.spec import Model

__all__ = ["LocalTarget", "local_target", "local_targets"]


def local_target(
    name: str,
    model: Model,
    *,
    device: str | None = None,
    dtype: str | None = None,
    on_message: Callable[[str], None] | None = None,
) -> LocalTarget:
    """Return one model on this machine as a target, for `evaluate`; see `local_targets`."""
    loader = _Loader(model, device=device, dtype=dtype, on_message=on_message)
    return LocalTarget(
        name=name, identity=_identity(model, f"{device or 'auto'}/{dtype or 'auto'}"), opener=loader.open_and_free
    )


def local_targets(
    base: Model,
    tuned: Model,
    *,
    device: str | None = None,
    dtype: str | None = None,
    on_message: Callable[[str], None] | None = None,
) -> tuple[LocalTarget, LocalTarget]:
    """Return the targets `"base"` and `"tuned"`, for `evaluate`.

    If the tuned model is the base with an adapter, the weights are loaded once and the adapter is disabled for the
    base, unless it brings embeddings of its own, which stay when it is disabled. Otherwise each is loaded in its turn
    and freed before the next.

    Args:
        base: The model that the run started from.
        tuned: What came out of it.
        device: A torch device; None picks the best one available.
        dtype: `"bfloat16"`, `"float16"` or `"float32"`; None picks the best one for the device.
        on_message: Called with a line before anything slow, such as a download.

    Raises:
        ModelError: A model can't be found or isn't whole.
    """
    loader = _Loader(tuned, device=device, dtype=dtype, on_message=on_message)
    base_loader = _Loader(base, device=device, dtype=dtype, on_message=on_message)
    is_shared = (
        base.adapter is None
        and tuned.adapter is not None
        and tuned.replace(adapter=None) == base.replace(adapter=None)
        and not has_own_embeddings(tuned.adapter)
    )
    open_base = loader.open_without_adapter if is_shared else base_loader.open_and_free
    settings = f"{device or 'auto'}/{dtype or 'auto'}"
    return (
        LocalTarget(name="base", identity=_identity(base, settings), opener=open_base),
        LocalTarget(name="tuned", identity=_identity(tuned, settings), opener=loader.open_and_free),
    )


@dataclass(frozen=True, kw_only=True)
class LocalTarget:
    """A model on this machine as something that `evaluate` can measure."""

    name: str
    identity: str
    opener: Callable[[], AbstractContextManager[TransformersGenerator]]

    def open(self) -> AbstractContextManager[TransformersGenerator]:
        """Load the model, for as long as the block lasts."""
        return self.opener()


class _Loader:
    """Holds one loaded model from its first use until it is freed."""

    def __init__(
        self, model: Model, *, device: str | None, dtype: str | None, on_message: Callable[[str], None] | None
    ) -> None:
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
        """Yield the base under the adapter; the weights stay loaded for `open_and_free`."""
        model, generator = self._load()
        with model.disable_adapter():
            yield generator

    @contextlib.contextmanager
    def open_and_free(self) -> Generator[TransformersGenerator]:
        """Yield the model as it is, and free its memory afterwards."""
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
