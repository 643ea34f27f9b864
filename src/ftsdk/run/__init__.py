"""Runs: submitted, watched, listed, paid for."""

import logging

# A library's log is for the application to show. Here, and not in ftsdk/__init__.py, which loads nothing.
logging.getLogger("ftsdk").addHandler(logging.NullHandler())
