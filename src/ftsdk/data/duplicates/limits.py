"""How long a text must be."""

from __future__ import annotations

__all__ = ["MIN_WORDS"]

MIN_WORDS = 20
"""Shorter texts aren't compared by n-grams of words: on 8-word messages these find 15 % of one-word edits."""
