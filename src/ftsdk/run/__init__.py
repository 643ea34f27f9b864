"""Runs: submitted, watched, listed, paid for."""
