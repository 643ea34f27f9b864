"""One suite for every backend: what `ftsdk.protocol` promises, as tests.

A backend is tested by a class of a few lines:

```python
from ftsdk.testing import BackendConformance

class TestMyBackend(BackendConformance):
    def make_backend(self, tmp_path):
        return MyBackend(url=start_a_fake_server(tmp_path))
```

The other hooks (`make_spec`, `requests_seen`, `wire_faults`, `secrets`, ...) describe the backend further and enable
the tests that need them; a test whose hook is missing is skipped, and names the hook. They are described in
`hooks.py`.
"""

from ftsdk.testing.conformance.artifacts import ArtifactChecks
from ftsdk.testing.conformance.budgets import BudgetChecks
from ftsdk.testing.conformance.hooks import RETRY_AFTER_S, Costly
from ftsdk.testing.conformance.plans import PlanChecks
from ftsdk.testing.conformance.quotes import QuoteChecks
from ftsdk.testing.conformance.runs import RunChecks
from ftsdk.testing.conformance.wire import WireChecks

__all__ = ["RETRY_AFTER_S", "BackendConformance", "Costly"]


class BackendConformance(PlanChecks, RunChecks, ArtifactChecks, BudgetChecks, QuoteChecks, WireChecks):
    """Inherit it in a class whose name starts with `Test`, and define `make_backend`."""
