"""The same route as a configuration of LiteLLM's proxy, for those who have one: with the breaker that it lacks.

LiteLLM never cools down the only deployment of a group unless `allowed_fails` says so, and then each request waits
through the retries of one that is down (BerriAI/litellm#40405, read 2026-11-27).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ftsdk._yaml import yaml_text

if TYPE_CHECKING:
    from ftsdk.deploy.router.config import RouterConfig
    from ftsdk.deploy.router.router import Router

__all__ = ["litellm_config"]

_NOTE = """\
# What LiteLLM does otherwise than ftsdk's router: a canary is drawn for each request, not for each conversation; it
# falls back on errors only, not on answers that break a schema or a validator; and nothing is rolled back.
"""


def litellm_config(router: Router) -> str:
    """Return the YAML file for `litellm --config`. Keys stay in their environment variables."""
    return _NOTE + yaml_text(_config(router.config))


def _config(config: RouterConfig) -> dict[str, Any]:
    alias = config.alias_file().read()
    champion, canary, share = (
        (config.champion, config.canary, config.share) if alias is None else (alias.champion, alias.canary, alias.share)
    )
    share = share if canary is not None else 0.0
    models = [_model(config, config.name, champion, weight=1 - share if canary else None)]
    if canary is not None and share:
        models.append(_model(config, config.name, canary, weight=share))
    others = [name for name in config.fallbacks if name not in (champion, canary)]
    models += [_model(config, name, name, weight=None) for name in others]
    settings: dict[str, Any] = {
        "routing_strategy": "simple-shuffle",
        "num_retries": 0,
        "allowed_fails": config.breaker.failures,
        "cooldown_time": config.breaker.cooldown_s,
        "timeout": config.timeout_s,
    }
    if others:
        settings["fallbacks"] = [{config.name: others}]
    return {"model_list": models, "router_settings": settings}


def _model(config: RouterConfig, group: str, target: str, *, weight: float | None) -> dict[str, Any]:
    endpoint = config.targets[target]
    # An OpenAI-compatible server; without a key, LiteLLM still wants one to send.
    key = "none" if endpoint.api_key_env is None else f"os.environ/{endpoint.api_key_env}"
    parameters: dict[str, Any] = {
        "model": f"openai/{endpoint.model}",
        "api_base": endpoint.url,
        "api_key": key,
        "timeout": min(endpoint.timeout_s, config.timeout_s),
    }
    if weight is not None:
        parameters["weight"] = round(weight, 6)
    if endpoint.price is not None:
        parameters["input_cost_per_token"] = float(endpoint.price.input_usd_per_mtok) / 1e6
        parameters["output_cost_per_token"] = float(endpoint.price.output_usd_per_mtok) / 1e6
    return {"model_name": group, "litellm_params": parameters}
