"""`Sweep`: a sweep that was started, from any process."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ftsdk._files import replace_file
from ftsdk._format import printable
from ftsdk._rich_text import rich_text
from ftsdk.errors import FtsdkError, RunNotFoundError, RunNotReadyError, SpecError
from ftsdk.job.job import FineTuneJob
from ftsdk.job.sweep.plan import SweepPlan, plan_sweep
from ftsdk.job.sweep.record import SweepFolder, SweepRecord, sweep_ids
from ftsdk.job.sweep.results import SweepTable, table_of
from ftsdk.job.sweep.rules import read_rule
from ftsdk.job.sweep.runner import SweepRunner, is_over
from ftsdk.job.sweep.verdict import UNSWEPT, verdict_text
from ftsdk.protocol import Backend
from ftsdk.run.run import Run
from ftsdk.spec.amounts import check_amount

if TYPE_CHECKING:
    from ftsdk.evals import EvalReport

__all__ = ["Sweep", "sweeps"]

_log = logging.getLogger(__name__)


def sweeps() -> list[Sweep]:
    """Return the sweeps that this user started, the newest first; those that can't be read are left out."""
    found: list[Sweep] = []
    for identifier in sweep_ids():
        with suppress(FtsdkError):
            found.append(Sweep.open(identifier))
    return found


class Sweep:
    """A sweep: `sweep(...)` starts one, `Sweep.open(id)` finds it again."""

    def __init__(self, record: SweepRecord, folder: SweepFolder, job: FineTuneJob | None) -> None:
        self._record = record
        self._folder = folder
        self._job = job

    @classmethod
    def open(cls, identifier: str, *, backend: Backend | None = None) -> Self:
        """Open a sweep by its id, such as `20261128-ab12cd`.

        Args:
            identifier: From `sweep.id` or `ftsdk sweep list`.
            backend: The backend object, for one that isn't registered by name.

        Raises:
            RunNotFoundError: There is no such sweep.
            FtsdkError: It can't be read.
        """
        folder = SweepFolder.of(identifier)
        record = folder.record()
        job = None if backend is None else FineTuneJob.from_dict({**record.job, "backend": "local"}, base=folder.path)
        return cls(record, folder, None if job is None or backend is None else job.replace(backend=backend))

    @property
    def id(self) -> str:
        """The sweep's name in any process."""
        return self._record.id

    @property
    def job(self) -> FineTuneJob:
        """The job as it is; its rows are read from the store."""
        if self._job is None:
            self._job = FineTuneJob.from_dict(self._record.job, base=self._folder.path)
        return self._job

    @property
    def runs(self) -> list[Run]:
        """The runs that were started, in the order of the trials."""
        progress = self._folder.progress()
        found: list[Run] = []
        for trial in sorted(self._record.trials, key=lambda trial: trial.number):
            if progress[trial.number].ref:
                with suppress(RunNotFoundError):
                    found.append(self._open_run(progress[trial.number].ref))
        return found

    def __repr__(self) -> str:
        return f"Sweep({self.id!r})"

    def __str__(self) -> str:
        return str(self.table())

    __rich__ = rich_text

    def _repr_html_(self) -> str:
        return self.table().to_block()

    def plan(self) -> SweepPlan:
        """Return the plan of the sweep, made anew: pure and offline, as if nothing had run yet."""
        record = self._record
        return plan_sweep(
            self.job,
            record.settings,
            budget_usd=record.budget_usd,
            grid=record.is_grid,
            stop=read_rule(record.rule),
            choose_by=record.choose_by,
            parallel=record.parallel,
        )

    def table(self) -> SweepTable:
        """Return what the sweep has found so far. Asks no backend."""
        path = self._folder.path / "verdict.txt"
        verdict = path.read_text(encoding="utf-8") if path.exists() else ""
        return table_of(self._record, self._folder.progress(), verdict=verdict)

    def wait(
        self,
        *,
        timeout_s: float | None = None,
        progress: bool = True,
        poll_s: float = 0.5,
        on_message: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Self:
        """Run the sweep to its end: start what the budget can pay for, and stop what the rule judges.

        Runs that went on while no process waited are followed, and those that were interrupted are resumed. While
        another process waits for the same sweep, this one only watches.

        Args:
            timeout_s: Stop waiting after so many seconds; runs that were started continue.
            progress: False for silence.
            poll_s: Seconds between two polls.
            on_message: Called with one sentence as runs start and end; None: they are printed, with `progress`.
            clock: Seconds; only differences count.
            sleep: Waits for some seconds.

        Raises:
            BackendError: The backend doesn't answer; call `wait` again.
            TimeoutError: `timeout_s` is over.
        """
        check_amount("poll_s", poll_s, at_least=0)
        if timeout_s is not None:
            check_amount("timeout_s", timeout_s, at_least=0)
        deadline = None if timeout_s is None else clock() + timeout_s
        while True:
            with self._folder.driving() as is_driver:
                if is_driver:
                    SweepRunner(
                        folder=self._folder,
                        record=self._record,
                        job=self.job,
                        has_progress=progress,
                        on_message=on_message or (_print if progress else _log.info),
                        timeout_s=None if deadline is None else max(0.0, deadline - clock()),
                        poll_s=poll_s,
                        clock=clock,
                        sleep=sleep,
                    ).run()
                    return self
            if is_over(self._folder.progress()):
                return self
            if deadline is not None and clock() >= deadline:
                raise TimeoutError(f"sweep {self.id} isn't over after {timeout_s:g} s; another process goes on with it")
            sleep(max(poll_s, 0.5))

    def best(self) -> Run:
        """Return the run that is best on the validation data, so far.

        With seeds, the configuration with the best mean wins, and this is the run of its first seed.

        Raises:
            RunNotReadyError: No run was trained to its end and measured yet.
        """
        found = self.table().best
        if found is None:
            raise RunNotReadyError(
                f"no run of sweep {self.id} was trained to its end and measured on the validation data; "
                "print(sweep.table()) says why"
            )
        return self._open_run(next(one.ref for _, one in found.trials if one.value is not None))

    def evaluate(self, *, progress: bool = True, **options: Any) -> EvalReport:
        """Measure the winner on the evals of the job, beside the base model and the run of the job as it is.

        The test data are read for the winner only, once the sweep is over: looking at them for each run, and choosing
        by them, would make its score better than the model is. `sweep.table().verdict` says what came out.

        Args:
            progress: Show a progress bar.
            **options: Of `Run.evaluate`, such as `gate=` or `base=`.

        Raises:
            RunNotReadyError: The sweep isn't over, no run was trained to its end, or the job has no evals.
        """
        table = self.table()
        if not table.is_over:
            raise RunNotReadyError(f"sweep {self.id} isn't over, so there is no winner yet; call sweep.wait()")
        winner, reference = self.best(), table.unchanged
        against = dict(options.pop("against", {}))
        if reference is not None and reference is not table.best and reference.values:
            ref = next(one.ref for _, one in reference.trials if one.value is not None)
            against.setdefault(UNSWEPT, self._open_run(ref))
        report = winner.evaluate(against=against, progress=progress, **options)
        replace_file(self._folder.path / "verdict.txt", verdict_text(table, report).encode())
        return report

    def cancel(self) -> None:
        """Stop all runs, and start no more. Cancelling twice does nothing.

        Raises:
            BackendError: The backend can't be reached; call it again.
        """
        self._folder.cancel()
        for trial_progress in self._folder.progress().values():
            if trial_progress.state == "running":
                with suppress(RunNotFoundError):
                    self._open_run(trial_progress.ref).cancel()
        with self._folder.driving() as is_driver:
            if is_driver:
                SweepRunner(folder=self._folder, record=self._record, job=self.job, on_message=_log.info).run()

    def plot(self, path: str | Path) -> Path:
        """Write the curves of the validation metric, and where they ended, to an SVG file; return its path.

        Raises:
            SpecError: Another kind of file is asked for.
            RunNotReadyError: Nothing was measured yet.
        """
        file = Path(path).expanduser()
        if file.suffix.lower() != ".svg":
            raise SpecError(f"{printable(str(path))}: the plot of a sweep is an .svg file")
        content = self.table().to_svg()
        if not content:
            raise RunNotReadyError(f"no run of sweep {self.id} was measured on the validation data yet")
        replace_file(file, content.encode(), is_private=False)
        return file

    def to_html(self) -> str:
        """Return table, plot and verdict as a page."""
        return self.table().to_html()

    def to_dict(self) -> dict[str, Any]:
        """Return the table as plain data."""
        return self.table().to_dict()

    def _open_run(self, ref: str) -> Run:
        is_own = self._job is not None and not isinstance(self._job.backend, str)
        return Run.open(ref, backend=self._job.resolved_backend if is_own and self._job is not None else None)


def _print(message: str) -> None:
    from rich.console import Console

    Console(stderr=True, highlight=False).print(printable(message), markup=False)
