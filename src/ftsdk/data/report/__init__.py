"""What is wrong with a dataset: findings with examples, the reason why each matters, and the call that fixes it."""

from ftsdk.data.report.data_report import DataReport
from ftsdk.data.report.finding import Example, Finding, Severity
from ftsdk.data.report.headline import headline

__all__ = ["DataReport", "Example", "Finding", "Severity", "headline"]
