"""Suites: functions that return evals with prompts of their own, for what a fine-tune may break."""
