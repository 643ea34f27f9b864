"""The arguments of `Ray(...)`, checked."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from ftsdk._secrets import has_url_secret, is_secret_name, looks_like_key
from ftsdk.backends.launchers.kept.address import check_storage, is_plain_text
from ftsdk.errors import SpecError
from ftsdk.spec.amounts import check_amount

__all__ = ["OUR_VARIABLES", "Options"]

_RESOURCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,199}\Z")
OUR_VARIABLES = ("FTSDK_CLUSTER", "FTSDK_LOCK_FD", "RAY_JOB_STOP_SIGNAL", "RAY_JOB_STOP_WAIT_TIME_S")
"""Variables that ftsdk sets in a job, or that a run depends on."""
_LONGEST_ENVIRONMENT = 100_000
"""Characters of a runtime environment as JSON."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """The arguments of `Ray(...)`."""

    address: str | None = None
    storage: str | None = None
    gpus: int = 1
    gpu: str | None = None
    cpus: int | None = None
    nodes: int = 1
    resources: Mapping[str, float] = field(default_factory=dict[str, float])
    autoscaling: bool = False
    usd_per_hour: Decimal | None = None
    runtime_env: Mapping[str, Any] = field(default_factory=dict[str, Any])
    python: str = "python"

    def __post_init__(self) -> None:
        if self.address is not None:
            _check_address(self.address)
        if self.storage is not None:
            check_storage(self.storage)
        check_amount("gpus", self.gpus, at_least=0, at_most=1024, is_whole=True)
        check_amount("nodes", self.nodes, at_least=1, at_most=10_000, is_whole=True)
        if self.cpus is not None:
            check_amount("cpus", self.cpus, at_least=1, at_most=100_000, is_whole=True)
        _check_resources(self.resources)
        _check_runtime_env(self.runtime_env)
        if not is_plain_text(self.python):
            raise SpecError(f"python={self.python!r} isn't the path or the name of an interpreter on the cluster")

    @property
    def cores(self) -> int:
        """Cores of each node: one for each process unless it is said."""
        return self.cpus or max(1, self.gpus)

    @property
    def bundle(self) -> dict[str, float]:
        """What each node has to have, in Ray's words."""
        gpus = {"GPU": float(self.gpus)} if self.gpus else {}
        return {"CPU": float(self.cores), **gpus, **{name: float(n) for name, n in sorted(self.resources.items())}}

    def to_dict(self) -> dict[str, Any]:
        """Return the arguments that differ from the defaults; a price stays a Decimal."""
        defaults = Options()
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: dict(value) if isinstance(value, Mapping) else value  # pyright: ignore[reportUnknownArgumentType]
            for name, value in values.items()
            if value != getattr(defaults, name)
        }


def _check_address(address: object) -> None:
    if not is_plain_text(address):
        raise SpecError(f"address={address!r} isn't the address of a Ray dashboard, such as 'http://head:8265'")
    if has_url_secret(str(address)):
        raise SpecError(
            "address has a password or a key in it, which would be stored with each run; set RAY_AUTH_TOKEN, or "
            "RAY_JOB_HEADERS, in the environment"
        )
    try:
        parts = urlsplit(str(address))
        is_web = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        is_web = False
    if not is_web:
        raise SpecError(
            f"address={address!r} isn't the address of a Ray dashboard: write 'http://HOST:8265', where the Jobs API "
            "is; ray:// and the address of `ray start` are others"
        )


def _check_resources(resources: object) -> None:
    if not isinstance(resources, Mapping):
        raise SpecError("resources takes names and amounts, such as {'accelerator_type:A100': 0.001}")
    for name, amount in resources.items():  # pyright: ignore[reportUnknownVariableType]
        if not isinstance(name, str) or not _RESOURCE.match(name):
            raise SpecError(f"resources has {name!r}, which isn't the name of a Ray resource")
        if name in ("CPU", "GPU"):
            raise SpecError(f"resources can't have {name}: set {'cpus=' if name == 'CPU' else 'gpus='}")
        check_amount(f"resources[{name!r}]", amount, above=0, at_most=1e15)


def _check_runtime_env(given: object) -> None:
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):  # pyright: ignore[reportUnknownVariableType]
        raise SpecError("runtime_env takes Ray's own form, such as {'pip': ['ftsdk[local]']}")
    try:
        text = json.dumps(dict(given), allow_nan=False)  # pyright: ignore[reportUnknownArgumentType]
    except (TypeError, ValueError, RecursionError) as error:
        raise SpecError(f"runtime_env isn't JSON ({error}), and is stored with the run") from error
    if len(text) > _LONGEST_ENVIRONMENT:
        raise SpecError(f"runtime_env has more than {_LONGEST_ENVIRONMENT:,} characters")
    for name, variables in given.items():  # pyright: ignore[reportUnknownVariableType]
        if name == "env_vars":
            _check_variables(variables)
    # The dashboard shows a job's environment to whoever can open it, and the run keeps it.
    if any(looks_like_key(word) for word in re.split(r"[\s\"'=,\[\]{}]+", text)) or has_url_secret(text):
        raise SpecError(
            "runtime_env contains something that looks like a key, which the dashboard would show and the run would "
            "keep; set it in the environment of the nodes, such as a Kubernetes Secret"
        )


def _check_variables(variables: object) -> None:
    if not isinstance(variables, Mapping):
        raise SpecError("runtime_env['env_vars'] takes names and values")
    for name, value in variables.items():  # pyright: ignore[reportUnknownVariableType]
        if not isinstance(name, str) or not isinstance(value, str):
            raise SpecError("runtime_env['env_vars'] takes names and values, both text")
        if is_secret_name(name):
            raise SpecError(
                f"runtime_env sets {name}, which sounds like a secret: the dashboard would show it and the run would "
                "keep it; set it in the environment of the nodes, such as a Kubernetes Secret"
            )
        if name in OUR_VARIABLES:
            raise SpecError(f"runtime_env can't set {name}: ftsdk does")
