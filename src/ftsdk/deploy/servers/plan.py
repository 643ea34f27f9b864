"""The plan of a server: what runs, which models it has, what it needs and costs, and what it refuses."""

from __future__ import annotations

from pydantic import Field

from ftsdk._format import gigabytes, html_block, html_list, html_table, money, printable
from ftsdk._rich_text import rich_text
from ftsdk.errors import Gap, UnsupportedSpecError
from ftsdk.spec import Value
from ftsdk.spec.base import OptionalUsd, usd_default

__all__ = ["PlannedModel", "RefusedPart", "ServerPlan"]


class PlannedModel(Value):
    """A model of the server."""

    name: str
    """What requests call it."""
    weights: str
    """Where its weights come from."""
    rank: int | None = None
    """Of its adapter; None: it has none."""

    def __str__(self) -> str:
        rank = "" if self.rank is None else f" (adapter of rank {self.rank})"
        return f"{self.name}: {self.weights}{rank}"

    __rich__ = rich_text


class RefusedPart(Value):
    """What the engine can't serve as it is."""

    model: str
    """The name of the model."""
    what: str
    """The part of it, such as `"DoRA"`."""
    advice: str
    """What to do."""

    def __str__(self) -> str:
        return f"{self.model}: {self.what}; {self.advice}"

    __rich__ = rich_text


class ServerPlan(Value):
    """What will be started, what it needs, and what it can cost. Made without starting or writing anything."""

    engine: str
    runs: str
    """What runs, and where."""
    base: str
    models: tuple[PlannedModel, ...]
    memory_bytes: int | None = None
    """Memory for weights and adapters, and the cache of keys and values at full load; None: not known."""
    price_usd_per_hour: OptionalUsd = usd_default(None)
    """None: the machine is yours, and nothing is billed by ftsdk's knowledge."""
    at_most_usd: OptionalUsd = usd_default(None)
    """What it can cost, also if this process dies; None: nothing is billed, or no limit is known."""
    max_s: int | None = None
    """Seconds after which it is stopped; None: no limit."""
    command: tuple[str, ...] = ()
    """The command that starts it, where there is one."""
    refused: tuple[RefusedPart, ...] = ()
    """Why it can't start; empty if it can."""
    notes: tuple[str, ...] = ()
    changed: dict[str, str] = Field(default_factory=dict[str, str])
    """Settings that the plan chose, with the reason."""

    def __str__(self) -> str:
        lines = [f"{self.engine}: {self.runs}", f"base     {self.base}"]
        lines += [f"model    {model}" for model in self.models]
        lines += [f"{name:<8} {text}" for name, text in self._facts()]
        lines += [f"refused  {part}" for part in self.refused]
        lines += [f"note     {note}" for note in self.notes]
        return "\n".join(printable(line) for line in lines)

    __rich__ = rich_text

    def _repr_html_(self) -> str:
        rows = [("engine", f"{self.engine}: {self.runs}"), ("base", self.base), *self._facts()]
        refused = [f"refused: {part}" for part in self.refused]
        return html_block(
            html_table([*rows, *(("model", str(model)) for model in self.models)]),
            html_list([*refused, *self.notes]),
        )

    def check(self) -> None:
        """Raise what the plan refuses.

        Raises:
            UnsupportedSpecError: A model can't be served as it is; names each part and what to do.
        """
        if self.refused:
            gaps = [Gap(part.model, part.what, (), part.advice) for part in self.refused]
            refused = "".join(f"\n  {part}" for part in self.refused)
            raise UnsupportedSpecError(self.engine, gaps, message=f"{self.engine} can't serve this:{refused}")

    def _facts(self) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        if self.memory_bytes is not None:
            found.append(("memory", f"about {gigabytes(self.memory_bytes)}"))
        if self.price_usd_per_hour is not None:
            found.append(("price", f"{money(self.price_usd_per_hour, places=2)} an hour"))
        if self.at_most_usd is not None:
            found.append(("at most", money(self.at_most_usd, places=2)))
        if self.max_s is not None:
            found.append(("stops", f"after {self.max_s / 3600:.3g} h at the latest, and at the end of the block"))
        found += [("chose", f"{name}: {reason}") for name, reason in self.changed.items()]
        if self.command:
            found.append(("command", " ".join(self.command)))
        return found
