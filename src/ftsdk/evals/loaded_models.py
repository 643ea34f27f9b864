"""Models that stay loaded between calls of `Model.generate`."""

from __future__ import annotations

import atexit
import contextlib
import threading
from collections import OrderedDict
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module

from ftsdk.evals.local import local_target
from ftsdk.evals.local_generation import TransformersGenerator
from ftsdk.models import materialize
from ftsdk.models.torch_stack import late_imports
from ftsdk.spec import Model
from ftsdk.spec.amounts import check_amount

__all__ = ["LoadedModels", "keep_loaded"]


@dataclass(frozen=True)
class _Loaded:
    identity: str
    generator: TransformersGenerator
    closing: ExitStack


class LoadedModels:
    """The models that were used last, as many as may stay loaded. Any number of threads may ask; they take turns.

    A model is known by what its weights, adapter and template are (see `model_identity`), so one whose folder was
    written again is loaded again.
    """

    def __init__(self, most: int = 1) -> None:
        """Start without a model.

        Args:
            most: How many stay loaded.
        """
        self._most = most
        self._loaded: OrderedDict[Model, _Loaded] = OrderedDict()
        self._lock = threading.RLock()
        self.loads = 0
        """How often a model was loaded."""

    @contextlib.contextmanager
    def use(self, model: Model) -> Generator[TransformersGenerator]:
        """Yield the model's generator, for this thread alone as long as the block lasts.

        Raises:
            ModelError: The model can't be found, downloaded or loaded.
            MissingExtraError: The extra `local` isn't installed.
        """
        with self._lock:
            yield self._get(model)

    def keep(self, most: int) -> None:
        """Set how many models stay loaded, and free those beyond."""
        check_amount("most", most, at_least=0, at_most=1000, is_whole=True)
        with self._lock:
            self._most = most
            self._free_down_to(most)

    def unload(self, model: Model) -> None:
        """Free a model, once no thread uses it; nothing happens if it isn't loaded."""
        with self._lock:
            if model in self._loaded:
                closing = self._loaded.pop(model).closing  # nothing else may hold the weights when they are freed
                closing.close()

    def close(self) -> None:
        """Free all models, unless a thread is using one: for the end of the process, which frees all memory anyway."""
        if self._lock.acquire(blocking=False):
            try:
                self._free_down_to(0)
            finally:
                self._lock.release()

    def _get(self, model: Model) -> TransformersGenerator:
        if model in self._loaded and self._is_same(model):
            self._loaded.move_to_end(model)
            return self._loaded[model].generator
        with late_imports("running a model on this machine"):  # before anything large is downloaded
            import_module("torch")
            import_module("transformers")
        self.unload(model)
        materialize(model)  # the identity of a model isn't known before it is downloaded
        target = local_target("loaded", model)
        self._free_down_to(max(0, self._most - 1))  # before there is one more in memory
        with ExitStack() as opening:
            generator = opening.enter_context(target.open())
            self.loads += 1
            self._loaded[model] = _Loaded(target.identity, generator, opening.pop_all())
        return generator

    def _is_same(self, model: Model) -> bool:
        """Return whether the files of a model that is loaded are those that it was loaded from."""
        try:
            return local_target("loaded", model).identity == self._loaded[model].identity
        except OSError:  # they are gone: loading them says so in words
            return False

    def _free_down_to(self, most: int) -> None:
        while len(self._loaded) > most:
            closing = self._loaded.popitem(last=False)[1].closing
            closing.close()


LOADED = LoadedModels()
"""Those of this process."""
atexit.register(LOADED.close)  # while what frees them can still be imported


def keep_loaded(most: int) -> None:
    """Set how many models `Model.generate` keeps in memory; 1 unless it is set.

    Two let a base and a tuned model answer in turns without being loaded each time. 0 frees all: then the next call
    loads its model, which stays until another one is asked.

    Args:
        most: How many; those used last stay.
    """
    LOADED.keep(most)
