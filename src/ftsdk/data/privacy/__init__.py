"""Personal data and credentials in texts: found by patterns and checksums, and replaced so that they can be put back.

Patterns find what has a form: addresses, numbers, keys. They find no names; `named_entities` does, with a model.
"""

from ftsdk.data.privacy.credentials import CREDENTIALS
from ftsdk.data.privacy.find import Finding, find
from ftsdk.data.privacy.kind import Kind
from ftsdk.data.privacy.named_entities import named_entities
from ftsdk.data.privacy.pii import PII
from ftsdk.data.privacy.scrub import Scrubbed, restore, scrub

__all__ = ["CREDENTIALS", "PII", "Finding", "Kind", "Scrubbed", "find", "named_entities", "restore", "scrub"]
