"""`serve`: several tuned models on one base, behind one address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ftsdk.deploy.servers.engine_parts import parts_of
from ftsdk.deploy.servers.engines import Engine, EngineName, ModalServer, engine_named
from ftsdk.deploy.servers.served_models import Servable, name_models
from ftsdk.deploy.servers.server import Server
from ftsdk.errors import SpecError

__all__ = ["serve"]


def serve(
    models: Servable | Sequence[Servable] | Mapping[str, Servable],
    *,
    engine: Engine | EngineName = "llama.cpp",
    max_hours: float | None = None,
    budget_usd: float | None = None,
    allow_failed: bool = False,
) -> Server:
    """Return a server of tuned models, for a `with` block; the `model` of a request chooses among them.

    ```python
    with serve([run_a, run_b], engine="llama.cpp") as server:
        print(run_a.evaluate(against=[server.endpoint(run_a), server.endpoint(run_b)]))
    ```

    Nothing starts before the block, so `print(serve([run]))` shows the plan at no cost. Runs are downloaded.

    Args:
        models: Finished runs, models, folders of exports or `.gguf` files. Adapters share one base, which is loaded
            once. A mapping gives them names; without one, they are called by the run's name or id.
        engine: `"llama.cpp"` on this machine; `"vllm"`, `"ollama"` or `"modal"`; or a value with settings, such as
            `LlamaCpp(quantization="q8_0")`.
        max_hours: Stop after so many hours. None: at the end of the block, or of this process.
        budget_usd: The most to spend, in US dollars, even if this process dies; for engines that bill.
        allow_failed: Serve exports, too, whose parity with the evaluated model failed.

    Raises:
        SpecError: There is nothing to serve, two models have one name, or their bases differ.
        RunNotReadyError: A run hasn't succeeded.
        ModelError: An adapter isn't there or isn't whole, or an export failed its parity.
    """
    chosen = engine_named(engine)
    named = name_models(models, allow_failed=allow_failed)
    if budget_usd is not None and not isinstance(chosen, ModalServer):
        raise SpecError(f"budget_usd is for engines that bill, and nothing is billed by {chosen}; leave it out")
    return Server(named, parts_of(chosen, named, max_hours=max_hours, budget_usd=budget_usd), max_hours=max_hours)
