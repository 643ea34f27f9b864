"""A router as a YAML file."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from ftsdk._files import read_regular_file
from ftsdk._yaml import parse_yaml
from ftsdk.deploy.router.breaker import BreakerRule
from ftsdk.deploy.router.router import Router
from ftsdk.errors import SpecError
from ftsdk.evals.endpoint import Endpoint
from ftsdk.evals.gate import Gate
from ftsdk.spec import Value
from ftsdk.spec.base import OptionalPositiveUsd, usd_default

__all__ = ["RouteFile", "RouteTarget"]

_LARGEST_FILE = 1 << 20


class RouteTarget(Endpoint):
    """An endpoint, whose price may be that of a row of the price book."""

    price_of: str | None = None
    """Such as `anthropic/claude-haiku-4-5`, instead of `price`."""

    @model_validator(mode="after")
    def _check_price(self) -> Self:
        if self.price_of is not None and self.price is not None:
            raise ValueError("has price and price_of; give one of them")
        return self

    def endpoint(self) -> Endpoint:
        """Return the endpoint with its price.

        Raises:
            SpecError: The price book doesn't have it.
        """
        fields = {name: getattr(self, name) for name in Endpoint.model_fields}
        if self.price_of is not None:
            from ftsdk.cost import api_price

            fields["price"] = api_price(self.price_of).token_price()
        return Endpoint(**fields)


class RouteFile(Value):
    """The arguments of `Router`, by the same names, and where to listen."""

    name: str = "route"
    targets: Annotated[dict[str, RouteTarget], Field(min_length=1, max_length=2)]
    """The tuned model; or two versions, of which the first is the champion."""
    fallback: dict[str, RouteTarget] = Field(default_factory=dict)
    """Who answers where the tuned model doesn't, in this order."""
    canary: Annotated[float, Field(ge=0, le=1)] = 0.0
    gate: Gate | None = None
    folder: str | None = None
    """For the alias and the records, beside this file if it is relative; None: in ftsdk's home."""
    response_schema: dict[str, Any] | None = None
    """A JSON Schema that every answer must fit."""
    validator: str | None = None
    """`FILE.py:FUNCTION`, beside this file: your own code, which runs."""
    judge: str | None = None
    """`FILE.py:FUNCTION`, beside this file."""
    shadow: Annotated[float, Field(ge=0, le=1)] = 0.2
    timeout_s: Annotated[float, Field(gt=0, le=86_400)] = 60.0
    usd_per_day: OptionalPositiveUsd = usd_default(None)
    fallback_usd_per_hour: OptionalPositiveUsd = usd_default(None)
    accepts_cut: bool = False
    uses_feedback: bool = False
    promotes: bool = False
    breaker: BreakerRule = BreakerRule()
    otlp: str | None = None
    """The address of a collector for traces and metrics, such as `http://127.0.0.1:4318`; needs the extra
    `telemetry`."""
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    lock_wait_s: Annotated[float, Field(ge=0, le=3600)] = 40.0
    """How long a router that is started waits for an earlier one to finish, in seconds."""

    @classmethod
    def from_yaml(cls, path: str | Path) -> RouteFile:
        """Return the router in a YAML file.

        Raises:
            SpecError: It can't be read, isn't YAML, or has an unknown key or an impossible value.
        """
        path = Path(path)
        try:
            data = parse_yaml(read_regular_file(path, most_bytes=_LARGEST_FILE).decode("utf-8"), str(path))
        except OSError as error:
            raise SpecError(f"{path} can't be read: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise SpecError(f"{path} isn't UTF-8: {error}") from error
        if not isinstance(data, dict):
            raise SpecError(f"{path} must be a mapping with the key targets")
        return cls.from_dict(data)

    def router(self, path: str | Path, *, observers: tuple[object, ...] = ()) -> Router:
        """Return the router; nothing runs yet.

        Args:
            path: The file, which relative paths are beside.
            observers: Objects that hear of each answer.

        Raises:
            SpecError: Something in it can't be, and what.
            MissingExtraError: A schema needs the extra `evals`, or a price the extra `cost`.
        """
        beside = Path(path).resolve().parent
        if self.otlp is not None:
            from ftsdk.deploy.telemetry import OtlpTelemetry

            observers = (*observers, OtlpTelemetry(self.otlp, service=self.name, closes_with_router=True))
        return Router(
            {name: target.endpoint() for name, target in self.targets.items()},
            fallback={name: target.endpoint() for name, target in self.fallback.items()} or None,
            canary=self.canary,
            gate=self.gate,
            name=self.name,
            folder=None if self.folder is None else beside / self.folder,
            schema=self.response_schema,
            validator=_function("validator", self.validator, beside),
            judge=_function("judge", self.judge, beside),
            shadow=self.shadow,
            timeout_s=self.timeout_s,
            usd_per_day=self.usd_per_day,
            fallback_usd_per_hour=self.fallback_usd_per_hour,
            accepts_cut=self.accepts_cut,
            uses_feedback=self.uses_feedback,
            promotes=self.promotes,
            breaker=self.breaker,
            observers=observers,
            lock_wait_s=self.lock_wait_s,
        )


def _function(field: str, named: str | None, beside: Path) -> Callable[..., Any] | None:
    """Return a function from a Python file of the user."""
    if named is None:
        return None
    file, _, name = named.rpartition(":")
    is_name = file.endswith(".py") and file.isprintable() and name.isidentifier()
    path = (beside / file).resolve() if is_name else beside
    if not path.is_file() or not path.is_relative_to(beside):
        raise SpecError(f"{field}={named!r} must be FILE.py:FUNCTION, with a file beside that of the router")
    module_name = f"_ftsdk_route_{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise SpecError(f"{field}={named!r}: the file can't be run: {type(error).__name__}: {error}") from error
    found = getattr(module, name, None)
    if not callable(found):
        raise SpecError(f"{field}={named!r}: the file has no function of this name")
    return found
