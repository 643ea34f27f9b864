"""Duplicates: the same text, almost the same text, the same prompt, and what two sets have in common.

The functions take texts and return positions; they know nothing of datasets.
"""
