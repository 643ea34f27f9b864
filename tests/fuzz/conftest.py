"""Seeded malformed input: how many to try, how to repeat one, and what each may take.

A test takes `fuzz_cases` and tries one input for each generator of random numbers that it yields:

    @pytest.mark.fuzz
    def test_a_malformed_archive_ends_in_our_errors(fuzz_cases: FuzzCases, tmp_path: Path) -> None:
        for rng in fuzz_cases:
            archive = _broken_archive(rng, tmp_path)
            with limits(seconds=10, mib=256):
                ...

`nox -s fuzz -- --count 10000` tries that many; a failure prints the arguments that repeat the one case.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest
from fuzzing import FuzzCases

_CASES = pytest.StashKey[FuzzCases]()


@pytest.fixture
def fuzz_count(pytestconfig: pytest.Config) -> int:
    """How many inputs to try: `--count`, or as many as every run of the tests has time for."""
    return int(pytestconfig.getoption("--count") or 0)


@pytest.fixture
def fuzz_cases(request: pytest.FixtureRequest, fuzz_count: int) -> FuzzCases:
    """One seeded `random.Random` for each input to try."""
    option = request.config.getoption
    cases = FuzzCases(seed=option("--seed") or 0, first=option("--first") or 0, count=fuzz_count)
    request.node.stash[_CASES] = cases
    return cases


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    cases = item.stash.get(_CASES, None)
    if report.failed and cases is not None and cases.current is not None:
        again = f"nox -s fuzz -- -k '{item.name}' --seed {cases.seed} --first {cases.current} --count 1"
        report.sections.append(("fuzz", f"case {cases.current} of seed {cases.seed}; to repeat it: {again}"))
    return report
