"""Which models a server has, and what each is called."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

from ftsdk.deploy.servers.adapter_facts import AdapterFacts, adapter_facts
from ftsdk.deploy.servers.plan import PlannedModel
from ftsdk.errors import SpecError
from ftsdk.models import base_name
from ftsdk.spec import Model

__all__ = ["Servable", "ServableRun", "ServedModel", "ServedModels", "name_models", "planned_model"]

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,95}")


@runtime_checkable
class ServableRun(Protocol):
    """A finished run."""

    @property
    def ref(self) -> str:
        """The run's ref."""
        ...

    @property
    def name(self) -> str | None:
        """The job's name."""
        ...

    def model(self) -> Model:
        """Return the tuned model."""
        ...


Servable: TypeAlias = ServableRun | Model | str | Path
"""A run, a model, or the folder of an export."""


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """A model under the name that requests choose it by."""

    name: str
    model: Model
    ref: str | None = None
    """The run that it comes from."""
    run: ServableRun | None = None
    adapter: AdapterFacts | None = None
    """None: it has no adapter."""


@dataclass(frozen=True, kw_only=True)
class ServedModels:
    """The models of one server: one base, and any number of adapters on it; or one model without an adapter."""

    base: Model
    base_name: str
    """What requests call the base."""
    models: tuple[ServedModel, ...]

    @property
    def adapted(self) -> tuple[ServedModel, ...]:
        """Those with an adapter, in the order in which servers number them."""
        return tuple(one for one in self.models if one.adapter is not None)

    @property
    def names(self) -> tuple[str, ...]:
        """All names that requests may use."""
        tuned = tuple(one.name for one in self.models)
        return tuned if self.base_name in tuned else (self.base_name, *tuned)

    def find(self, what: object) -> str:
        """Return the name of a run, of a model, or of what was served under a name.

        Raises:
            SpecError: It isn't served here.
        """
        for one in self.models:
            if isinstance(what, str) and what in (one.name, one.ref):
                return one.name
            if isinstance(what, Model) and what == one.model:
                return one.name
            if isinstance(what, ServableRun) and what.ref == one.ref:
                return one.name
        if what == self.base_name or what == self.base:
            return self.base_name
        shown = what.ref if isinstance(what, ServableRun) else str(what)
        raise SpecError(f"{shown!r} isn't served here; there are {', '.join(map(repr, self.names))}")


def name_models(
    given: Servable | Sequence[Servable] | Mapping[str, Servable], *, allow_failed: bool = False
) -> ServedModels:
    """Return the models with their names: those given, else the run's name or id, else that of the folder.

    Args:
        given: Runs, models and folders; a mapping has the names.
        allow_failed: Take exports, too, whose parity with the evaluated model failed.

    Raises:
        SpecError: There are none, two have one name, a name can't be used, or they have different bases.
        RunNotReadyError: A run hasn't succeeded.
        ModelError: An adapter isn't there or isn't whole, or an export failed its parity.
    """
    if isinstance(given, str | Path | Model | ServableRun):
        given = [given]
    named = list(given.items()) if isinstance(given, Mapping) else [(None, one) for one in given]
    if not named:
        raise SpecError("nothing to serve; pass runs, as in serve([run])")
    found: list[ServedModel] = []
    for name, one in named:
        run = one if isinstance(one, ServableRun) else None
        ref = None if run is None else run.ref
        model = _model_of(one, allow_failed=allow_failed)
        facts = None if model.adapter is None else adapter_facts(model.adapter)
        found.append(ServedModel(name=_checked(name or _name_of(one)), model=model, ref=ref, run=run, adapter=facts))
    names = [one.name for one in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise SpecError(f"two models are called {twice!r}; name them: serve({{'v1': run_a, 'v2': run_b}})")
    base = _common_base(found)
    base_called = base_name(base) if any(one.adapter for one in found) else names[0]
    if any(one.adapter and one.name == base_called for one in found):
        raise SpecError(f"{base_called!r} is the name of the base; choose another one for the tuned model")
    return ServedModels(base=base, base_name=base_called, models=tuple(found))


def planned_model(one: ServedModel) -> PlannedModel:
    """Return a model as a plan shows it."""
    rank = None if one.adapter is None else one.adapter.rank
    return PlannedModel(name=one.name, weights=one.ref or one.model.adapter or one.model.id, rank=rank)


def _common_base(found: Sequence[ServedModel]) -> Model:
    bases = [one.model.replace(adapter=None) for one in found]
    others = [base for base in bases if base != bases[0]]
    if others:
        raise SpecError(
            f"one server has one base, and these have two: {bases[0]} and {others[0]}. Start a server for each, and "
            "route between them"
        )
    if len(found) > 1 and any(one.adapter is None for one in found):
        raise SpecError(f"{bases[0]} is served as the base beside its adapters anyway; leave it out of the list")
    return bases[0]


def _model_of(one: Servable, *, allow_failed: bool) -> Model:
    from ftsdk.deploy.servers.exported import check_export, exported_model

    if isinstance(one, Model):
        for given in (one.adapter, None if one.source == "hub" else one.id):
            if given is not None:
                check_export(given, allow_failed=allow_failed)
        return one
    if isinstance(one, ServableRun):
        return one.model()
    return exported_model(one, allow_failed=allow_failed)


def _name_of(one: Servable) -> str:
    if isinstance(one, ServableRun):
        text = one.name or one.ref.partition(":")[2]
    elif isinstance(one, Model):
        text = base_name(one) if one.adapter is None else Path(one.adapter).expanduser().resolve().name
    else:
        text = Path(one).expanduser().resolve().name.removesuffix(".gguf")
    return _NOT_IN_NAMES.sub("-", text.rpartition("/")[2]).strip("-._")[:96] or "model"


def _checked(name: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise SpecError(
            f"{name!r} can't be a model's name: it has letters, digits, '.', '_', '-' and '/', starts with a letter or "
            "digit, and has at most 96 characters"
        )
    return name
