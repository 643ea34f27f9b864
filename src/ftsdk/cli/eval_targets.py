"""What `ftsdk eval` measures: from the words of the command to evals and targets."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ftsdk._format import printable
from ftsdk._home import home
from ftsdk._yaml import parse_yaml
from ftsdk.cli.amounts import amount
from ftsdk.cli.things import is_url, named_thing
from ftsdk.errors import SpecError

if TYPE_CHECKING:
    from ftsdk.evals import Endpoint, Eval, EvalReport, Gate
    from ftsdk.run.run import Run
    from ftsdk.spec import Model, TokenPrice

__all__ = ["EvalRequest"]

_OF_FILES = {
    "model": "--model",
    "endpoint": "--endpoint",
    "scorer": "--scorer",
    "metrics": "--metric",
    "options": "--set",
    "slices": "--slice",
    "prompt": "--prompt",
    "completion": "--completion",
    "system": "--system",
}
"""Fields of a request that only a data file needs, and their options."""
_JOB_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, kw_only=True)
class EvalRequest:
    """The command, as it was typed."""

    what: str
    model: str | None
    endpoint: str | None
    against: tuple[str, ...]
    api_key_env: str | None
    price: str | None
    scorer: str | None
    """None: exact_match."""
    metrics: tuple[str, ...]
    options: tuple[str, ...]
    slices: tuple[str, ...]
    prompt: str | None
    completion: str | None
    system: str | None
    at_least: float | None
    budget: str | None
    usd_per_hour: float | None
    into: Path | None

    def evaluate(self, *, progress: bool) -> EvalReport:
        """Measure a run, the base model of a job, or the models that are named on a file.

        Raises:
            SpecError: Options that don't go together, or words that can't be read.
        """
        self._check_endpoints()
        is_file = Path(self.what).expanduser().exists()
        if is_file and not self.what.endswith(_JOB_SUFFIXES):
            return self._measure([self._eval_of_file()], self._targets_of_file(), progress=progress)
        given = [option for name, option in _OF_FILES.items() if getattr(self, name)]
        if given:
            raise SpecError(f"{given[0]} is for a data file; {self.what!r} is none on this machine")
        if is_file:
            from ftsdk.cli.jobs import load_job
            from ftsdk.spec import Model

            job = load_job(Path(self.what), None)
            if not job.evals:
                raise SpecError(f"{self.what} has no evals; add some to the job")
            base = job.model if isinstance(job.model, Model) else Model(id=job.model)
            gate = None if job.gate is None or self.at_least is not None else _gate_of_base(job.gate)
            return self._measure(list(job.evals), {"base": base, **self._others()}, gate, progress=progress)
        return self._evaluate_run(progress=progress)

    def _check_endpoints(self) -> None:
        """Refuse a key or a price that no endpoint takes, a key for two servers, and a price for two models.

        Raises:
            SpecError: There is such an option.
        """
        endpoints = {text for text in (self.endpoint, *self.against) if text is not None and is_url(text)}
        if self.budget is not None and self.price is None and endpoints:
            raise SpecError(
                "--budget needs the endpoint's price: --price INPUT/OUTPUT in US dollars per Mtok, a row of the price "
                "book such as anthropic/claude-haiku-4-5, or 0/0 for a server of your own; nothing was asked"
            )
        used_by = {
            "--api-key-env": (self.api_key_env, {_server(text) for text in endpoints}),
            "--price": (self.price, {f"{_server(text)}#{text.partition('#')[2]}" for text in endpoints}),
        }
        for option, (value, users) in used_by.items():
            if value is not None and not users:
                raise SpecError(f"{option} is for endpoints; name one: --endpoint URL#MODEL, or --against URL#MODEL")
            if value is not None and len(users) > 1:
                raise SpecError(
                    f"{option} would be used for {' and '.join(sorted(users))}; evaluate them one after the other, or "
                    "in Python: run.evaluate(against=[Endpoint(...), Endpoint(...)])"
                )

    def _evaluate_run(self, *, progress: bool) -> EvalReport:
        from ftsdk.run.run import Run

        if ":" not in self.what:
            raise SpecError(f"{self.what!r} is neither a file on this machine nor a run's ref; see `ftsdk runs`")
        if self.into is not None:
            raise SpecError("--into is for jobs and files; a run keeps its answers with its other results")
        run = Run.open(self.what)
        return run.evaluate(
            against=[self._thing(other) for other in self.against],
            gate=None if self.at_least is None else self._gate(run.evals),
            budget_usd=None if self.budget is None else amount("--budget", self.budget),
            usd_per_hour=self.usd_per_hour,
            progress=progress,
        )

    def _measure(
        self, evals: list[Eval], measured: dict[str, Any], gate: Gate | None = None, *, progress: bool
    ) -> EvalReport:
        from ftsdk.evals import as_target, evaluate
        from ftsdk.run.evaluation import HasModel
        from ftsdk.run.progress import make_bar

        targets = [as_target(name, one.model() if isinstance(one, HasModel) else one) for name, one in measured.items()]
        with make_bar(progress) as on_progress:
            return evaluate(
                evals,
                targets,
                into=self.into or self._folder(),
                title=Path(self.what).name,
                compare_with=targets[0].name,
                gate=gate if self.at_least is None else self._gate(evals),
                budget_usd=None if self.budget is None else amount("--budget", self.budget),
                usd_per_hour=self.usd_per_hour,
                on_progress=on_progress,
            )

    def _folder(self) -> Path:
        path = Path(self.what).expanduser().resolve()
        return home() / "results" / f"eval-{path.stem[:40]}-{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"

    def _gate(self, evals: list[Eval]) -> Gate:
        from ftsdk.evals import Gate

        return Gate(metric=evals[0].name, at_least=self.at_least)

    def _eval_of_file(self) -> Eval:
        from ftsdk.data import Dataset
        from ftsdk.evals import Eval

        rows = Dataset.from_file(self.what)
        if self.prompt is not None or self.completion is not None or self.system is not None:
            rows = rows.as_chat(self.prompt, self.completion, system=self.system)
        if rows.format == "table":
            raise SpecError(
                f"{self.what} is a table (columns: {printable(', '.join(rows.columns), 200)}); pass templates of "
                f"prompt and reference, such as --prompt '{{{rows.columns[0]}}}' --completion '{{{rows.columns[-1]}}}'"
            )
        options: dict[str, Any] = {}
        for text in self.options:
            name, equals, value = text.partition("=")
            if not equals:
                raise SpecError(f"--set takes KEY=VALUE, such as ignore_case=true; got {text!r}")
            options[name] = parse_yaml(value, "--set")
        scorer = self.scorer or "exact_match"
        return Eval.of(rows, scorer, name=scorer, metric=self.metrics or "mean", slices=self.slices, **options)

    def _targets_of_file(self) -> dict[str, Any]:
        named = [text for text in (self.model, self.endpoint) if text is not None]
        if not named:
            raise SpecError("name what answers: --model ID, or --endpoint URL#MODEL")
        return self._others(*named)

    def _others(self, *before: str) -> dict[str, Any]:
        """Return what to compare with, behind other things, each under a name of its own."""
        from ftsdk.run.evaluation import named_targets

        return dict(named_targets([self._thing(text) for text in (*before, *self.against)]))

    def _thing(self, text: str) -> Model | Endpoint | Run:
        """Return the model, endpoint or run that is meant."""
        price = self._token_price() if is_url(text) else None
        return named_thing(text, api_key_env=self.api_key_env, price=price)

    def _token_price(self) -> TokenPrice | None:
        from ftsdk.spec import TokenPrice

        if self.price is None:
            return None
        given, slash, taken = self.price.partition("/")
        if slash and _is_number(given) and _is_number(taken):
            given_usd, taken_usd = amount("--price", given), amount("--price", taken)
            return TokenPrice(input_usd_per_mtok=given_usd, output_usd_per_mtok=taken_usd, source="--price")
        from ftsdk.cost.pricebook.api_prices import api_price

        return api_price(self.price).token_price()


def _gate_of_base(gate: Gate) -> Gate | None:
    """Return what a job's gate asks of the base model itself; None: it only compares a tuned model with the base."""
    better_than = None if gate.better_than == "base" else gate.better_than
    if not gate.no_regression and better_than == gate.better_than:
        return gate
    typer.echo("what the gate compares with the base is judged for a run of the job: ftsdk eval RUN", err=True)
    if gate.at_least is None and gate.at_most is None and better_than is None:
        return None
    return gate.replace(no_regression={}, better_than=better_than)


def _server(url: str) -> str:
    """Return scheme, host and port, without a name and a password."""
    scheme, _, rest = url.partition("#")[0].partition("://")
    return f"{scheme}://{rest.partition('/')[0].rpartition('@')[2]}"


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdigit()
