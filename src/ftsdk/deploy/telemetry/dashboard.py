"""A Grafana board for the metrics of a router: import the file, choose the Prometheus data source, done."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

__all__ = ["grafana_board"]

_SUM = "sum by (ftsdk_arm)"
_OVER = '{ftsdk_route=~"$route"}'


def grafana_board() -> str:
    """Return the board as JSON, for Grafana 10 and later; never opened in Grafana itself."""
    panels = [
        _panel("Requests per second", "reqps", [(f"{_SUM} (rate(ftsdk_requests_total{_OVER}[5m]))", "{{ftsdk_arm}}")]),
        _panel("Latency, whole answer", "s", _quantiles("gen_ai_client_operation_duration_seconds")),
        _panel("Latency, first token", "s", _quantiles("gen_ai_client_operation_time_to_first_chunk_seconds")),
        _panel(
            "Errors",
            "percentunit",
            [(_share('ftsdk_outcome="failed"', "ftsdk_requests_total", "error_type"), "{{error_type}}")],
        ),
        _panel(
            "Fallbacks by reason",
            "reqps",
            [(f"sum by (reason) (rate(ftsdk_fallbacks_total{_OVER}[5m]))", "{{reason}}")],
        ),
        _panel(
            "Accepted of judged answers",
            "percentunit",
            [
                (
                    f'{_SUM} (rate(ftsdk_verdicts_total{{ftsdk_route=~"$route",verdict="accepted"}}[1h]))'
                    f" / {_SUM} (rate(ftsdk_verdicts_total{_OVER}[1h]))",
                    "{{ftsdk_arm}}",
                )
            ],
        ),
        _panel(
            "Tokens per second",
            "short",
            [
                (
                    f"sum by (gen_ai_token_type) (rate(gen_ai_client_token_usage_sum{_OVER}[5m]))",
                    "{{gen_ai_token_type}}",
                )
            ],
        ),
        _panel(
            "US dollars per 1,000 accepted answers",
            "currencyUSD",
            [
                (
                    f"1000 * sum(rate(ftsdk_cost_usd_total{_OVER}[1h]))"
                    f' / sum(rate(ftsdk_requests_total{{ftsdk_route=~"$route",ftsdk_outcome="answered"}}[1h]))'
                    f' / (sum(rate(ftsdk_verdicts_total{{ftsdk_route=~"$route",verdict="accepted"}}[1h]))'
                    f" / sum(rate(ftsdk_verdicts_total{_OVER}[1h])))",
                    "tokens; without hours of your own GPUs",
                )
            ],
        ),
        _panel(
            "Switches and rollbacks",
            "short",
            [(f"sum by (why) (increase(ftsdk_switches_total{_OVER}[1h]))", "{{why}}")],
        ),
    ]
    for n, panel in enumerate(panels):
        panel["id"] = n + 1
        panel["gridPos"] = {"x": 8 * (n % 3), "y": 8 * (n // 3), "w": 8, "h": 8}
    board = {
        "__inputs": [{"name": "DS_PROMETHEUS", "label": "Prometheus", "type": "datasource", "pluginId": "prometheus"}],
        "title": "ftsdk router",
        "uid": "ftsdk-router",
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-24h", "to": "now"},
        "templating": {
            "list": [
                {
                    "name": "route",
                    "type": "query",
                    "datasource": _SOURCE,
                    "query": "label_values(ftsdk_requests_total, ftsdk_route)",
                    "includeAll": True,
                    "multi": True,
                    "current": {"text": "All", "value": "$__all"},
                    "refresh": 2,
                }
            ]
        },
        "panels": panels,
    }
    return json.dumps(board, indent=1) + "\n"


_SOURCE = {"type": "prometheus", "uid": "${DS_PROMETHEUS}"}


def _panel(title: str, unit: str, queries: Sequence[tuple[str, str]]) -> dict[str, Any]:
    return {
        "type": "timeseries",
        "title": title,
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": "ABCDEF"[n], "expr": expression, "legendFormat": legend, "datasource": _SOURCE}
            for n, (expression, legend) in enumerate(queries)
        ],
    }


def _quantiles(metric: str) -> list[tuple[str, str]]:
    return [
        (
            f"histogram_quantile({q}, sum by (le, ftsdk_arm) (rate({metric}_bucket{_OVER}[5m])))",
            f"p{q * 100:.0f} {{{{ftsdk_arm}}}}",
        )
        for q in (0.5, 0.95, 0.99)
    ]


def _share(condition: str, metric: str, by: str) -> str:
    return (
        f'sum by ({by}) (rate({metric}{{ftsdk_route=~"$route",{condition}}}[5m]))'
        f" / scalar(sum(rate({metric}{_OVER}[5m])))"
    )
