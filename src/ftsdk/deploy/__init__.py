"""Tuned models behind an endpoint."""
