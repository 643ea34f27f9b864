"""`ftsdk cost` and `ftsdk advise`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ftsdk.cli.amounts import amount
from ftsdk.cli.jobs import load_job
from ftsdk.cli.show import show_answer
from ftsdk.errors import SpecError

__all__ = ["advise_command", "cost_app"]

Verbose = Annotated[bool, typer.Option("--verbose", help="Print every number with its source, and what was assumed.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]

cost_app = typer.Typer(name="cost", help="Is an API or a model of your own cheaper?", no_args_is_help=True)


@cost_app.callback()
def _group() -> None:
    """Keep `crossover` a subcommand: typer merges a group that has only one command."""


@cost_app.command()
def crossover(
    file: Annotated[Path, typer.Argument(help="The question, as YAML.", metavar="FILE")],
    job: Annotated[
        Path | None,
        typer.Option("--job", help="Take the cost of training from this job's estimate.", metavar="JOB.yaml"),
    ] = None,
    backend: Annotated[
        str | None, typer.Option("--backend", help="The job's backend, instead of the one in its file.")
    ] = None,
    usd_per_hour: Annotated[
        str | None, typer.Option(help="US dollars for an hour of your hardware, for a job on it.")
    ] = None,
    solve_for: Annotated[
        str | None, typer.Option("--solve-for", help="Find the value of this input at which both cost the same.")
    ] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw it: .svg, .png or .pdf.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write it as an HTML fragment.")] = None,
    verbose: Verbose = False,
    as_json: AsJson = False,
) -> None:
    """Compare the cost of an API and of your own model, by volume and with uncertainty."""
    from ftsdk.cost.comparison.crossover_file import CrossoverFile

    if job is None and (backend is not None or usd_per_hour is not None):
        raise SpecError("--backend and --usd-per-hour are about a job; pass it with --job JOB.yaml")
    question = CrossoverFile.from_yaml(file)
    price = None if usd_per_hour is None else amount("--usd-per-hour", usd_per_hour)
    training = None if job is None else load_job(job, backend).estimate(usd_per_hour=price)
    answer = (question if solve_for is None else question.replace(solve_for=solve_for)).answer(training=training)
    show_answer(answer, as_json=as_json, is_verbose=verbose)
    if html is not None:
        try:
            html.write_text(answer.to_html(), encoding="utf-8")
        except OSError as error:
            raise SpecError(f"--html: {html} can't be written: {error.strerror or error}") from error
    if plot is not None:
        answer.plot(plot)


def advise_command(
    file: Annotated[
        Path | None, typer.Argument(help="Your inputs, as YAML; options override them.", metavar="[FILE]")
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="classification, extraction, json, style, chat or reasoning.")
    ] = None,
    requests: Annotated[float | None, typer.Option(help="Requests a month.")] = None,
    input_tokens: Annotated[float | None, typer.Option(help="Mean tokens of a prompt.")] = None,
    output_tokens: Annotated[float | None, typer.Option(help="Mean tokens of an answer.")] = None,
    peak_to_mean: Annotated[float | None, typer.Option(help="The busiest hour over the mean.")] = None,
    api: Annotated[str | None, typer.Option(help="What you would use otherwise: PROVIDER/MODEL.")] = None,
    metric: Annotated[
        bool | None, typer.Option("--metric/--no-metric", help="Can a good answer be told from a bad one?")
    ] = None,
    examples: Annotated[int | None, typer.Option(help="Good examples at hand.")] = None,
    preference_pairs: Annotated[int | None, typer.Option(help="Pairs of a better and a worse answer.")] = None,
    tried: Annotated[
        list[str] | None,
        typer.Option(
            help="prompt, few-shot, structured-output, retrieval, smaller-model, larger-model, base-model, "
            "constrained-decoding or small-classifier. Repeatable."
        ),
    ] = None,
    api_score: Annotated[float | None, typer.Option(help="Share of the API's answers that are good enough.")] = None,
    needed_score: Annotated[float | None, typer.Option(help="Share that must be good enough.")] = None,
    invalid_share: Annotated[
        float | None, typer.Option(help="Share of the API's answers that have the wrong form.")
    ] = None,
    base_score: Annotated[
        float | None, typer.Option(help="Share of an untuned open model's answers that are good enough.")
    ] = None,
    changing_facts: Annotated[
        bool | None, typer.Option("--changing-facts/--no-changing-facts", help="Answers depend on facts that change.")
    ] = None,
    must_self_host: Annotated[
        bool | None, typer.Option("--must-self-host/--may-use-api", help="Data may not leave.")
    ] = None,
    latency: Annotated[str | None, typer.Option(help="offline, server or interactive.")] = None,
    gpu_memory_gb: Annotated[float | None, typer.Option(help="Memory of a GPU that you have, in GB.")] = None,
    own_gpu: Annotated[
        str | None, typer.Option(help="A GPU that you have, by name, such as RTX4090, instead of its memory.")
    ] = None,
    too_slow: Annotated[
        bool | None, typer.Option("--api-too-slow/--api-fast-enough", help="The API's answers come too late.")
    ] = None,
    examples_by: Annotated[
        str | None, typer.Option(help="The API whose model wrote the examples: PROVIDER/MODEL.")
    ] = None,
    verbose: Verbose = False,
    as_json: AsJson = False,
) -> None:
    """Advise whether to fine-tune, and with which size, method and backend."""
    from typing import Any

    from ftsdk.cost.advice.advise import advise
    from ftsdk.cost.advice.inputs import Situation
    from ftsdk.cost.comparison.crossover_file import read_yaml

    given: dict[str, Any] = {} if file is None else dict(read_yaml(file))
    workload = {
        "requests_per_month": requests,
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "peak_to_mean": peak_to_mean,
    }
    flags = {
        "task": task,
        "api": api,
        "has_metric": metric,
        "examples": examples,
        "preference_pairs": preference_pairs,
        "tried": tried or None,
        "api_score": api_score,
        "needed_score": needed_score,
        "invalid_share": invalid_share,
        "base_score": base_score,
        "has_changing_facts": changing_facts,
        "must_self_host": must_self_host,
        "latency": latency,
        "gpu_memory_gb": gpu_memory_gb,
        "own_gpu": None if own_gpu is None else {"gpu": own_gpu},
        "is_api_too_slow": too_slow,
        "examples_by": examples_by,
    }
    asked = {name: value for name, value in workload.items() if value is not None}
    if asked:
        given["workload"] = {**given.get("workload", {}), **asked}
    given |= {name: value for name, value in flags.items() if value is not None}
    if not given:
        raise SpecError("no inputs: pass a YAML file, or --task, --requests, --input-tokens, --output-tokens and --api")
    advice = advise(Situation.from_dict(given))
    show_answer(advice, as_json=as_json, is_verbose=verbose)
