"""Together's managed fine-tuning: `Together` is the backend.

What it knows about models and prices is `catalogue.yaml`.
"""

from ftsdk.backends.together.backend import Together

__all__ = ["Together"]
