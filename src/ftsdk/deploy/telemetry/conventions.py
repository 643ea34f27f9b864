"""Names of OpenTelemetry's conventions for generative AI, and ours beside them: the one place that knows them.

All of the `gen_ai.*` names are in development and may change; `VERSION` says which state these are.

Source: https://github.com/open-telemetry/semantic-conventions-genai (docs/gen-ai), and the package
`opentelemetry-semantic-conventions` 0.66b2, `_incubating`; read 2026-11-27.
"""

from __future__ import annotations

__all__ = ["DURATION_BUCKETS", "SCHEMA_URL", "TOKEN_BUCKETS", "VERSION"]

VERSION = "opentelemetry-semantic-conventions 0.66b2"
"""The release whose names these are."""
SCHEMA_URL = "https://opentelemetry.io/schemas/1.44.0"
"""The newest schema that this release names."""

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
RESPONSE_MODEL = "gen_ai.response.model"
FINISH_REASONS = "gen_ai.response.finish_reasons"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
TOKEN_TYPE = "gen_ai.token.type"
ERROR_TYPE = "error.type"
EVALUATION_NAME = "gen_ai.evaluation.name"
EVALUATION_LABEL = "gen_ai.evaluation.score.label"

ROUTE = "ftsdk.route"
ARM = "ftsdk.arm"
ROLE = "ftsdk.role"
FALLBACK_REASON = "ftsdk.fallback.reason"
ROLLOUT = "ftsdk.rollout.id"
REQUEST_ID = "ftsdk.request.id"
COST = "ftsdk.cost.usd"
OUTCOME = "ftsdk.outcome"
VERDICT = "ftsdk.verdict"

DURATION_METRIC = "gen_ai.client.operation.duration"
TOKEN_METRIC = "gen_ai.client.token.usage"
FIRST_CHUNK_METRIC = "gen_ai.client.operation.time_to_first_chunk"
PER_CHUNK_METRIC = "gen_ai.client.operation.time_per_output_chunk"
REQUESTS_METRIC = "ftsdk.requests"
FALLBACKS_METRIC = "ftsdk.fallbacks"
VERDICTS_METRIC = "ftsdk.verdicts"
COST_METRIC = "ftsdk.cost"
SWITCHES_METRIC = "ftsdk.switches"

CHAT = "chat"

DURATION_BUCKETS = tuple(0.01 * 2**i for i in range(14))
"""In seconds, as the conventions have it; OpenTelemetry's own are for milliseconds."""
TOKEN_BUCKETS = tuple(4**i for i in range(14))
PER_CHUNK_BUCKETS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
