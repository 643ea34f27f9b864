"""Metrics: from the scores of all examples to one number with an interval. A metric is one function; see `metric`."""

from ftsdk.evals.metrics.mean import mean
from ftsdk.evals.metrics.metric import FunctionMetric, Metric, get_metric, metric, metric_names

__all__ = ["FunctionMetric", "Metric", "get_metric", "mean", "metric", "metric_names"]
