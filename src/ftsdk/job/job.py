"""`FineTuneJob`: one specification that runs on any backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import ConfigDict, InstanceOf, ValidationInfo, field_validator, model_validator

from ftsdk._format import html_table, printable
from ftsdk._numbers import exact_amount
from ftsdk.backends.registry import get_backend
from ftsdk.cost.catalogue.plan_notes import model_notes
from ftsdk.data import Dataset, DatasetStream, JudgedBy, Leak, data_notes, leaks_of
from ftsdk.errors import DatasetError, Gap, SpecError, UnsupportedSpecError
from ftsdk.evals import Eval, Gate, check_gate
from ftsdk.job.estimated import estimated
from ftsdk.job.rendered_rows import RenderedRows, count_sequences, render_rows_of, renders_rows
from ftsdk.job.submitting import new_key, store_data, submit_job
from ftsdk.job.yaml_file import JobFile, load_yaml, read_job
from ftsdk.protocol import Backend, CanQuote, Plan
from ftsdk.run.budget import refuse_over_budget
from ftsdk.run.run import Run
from ftsdk.spec import JobFields, JobSpec, Model
from ftsdk.spec.amounts import check_amount
from ftsdk.spec.base import Value, nearest
from ftsdk.spec.urls import NoUrl

if TYPE_CHECKING:
    from ftsdk.data import Preview
    from ftsdk.data.report import DataReport
    from ftsdk.protocol.estimates import Estimate

__all__ = ["FineTuneJob"]


class FineTuneJob(JobFields):
    """A fine-tune: a model, data, how to train, and where.

    What decides the weights is here and in `model`, `train`, `method` and `tuning`; where it runs is `backend`, the one
    argument to change. Nothing is sent, started or spent before `submit()`.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    model: NoUrl | Model
    """A hub id, a folder, a `.gguf` file, or a `Model(...)`."""
    train: Dataset
    """What to learn from: chat or preference rows."""
    validation: Dataset | None = None
    """What to measure the loss on while training; never trained on."""
    evals: Sequence[InstanceOf[Eval]] = ()
    """How the result is judged against the base model."""
    gate: Gate | None = None
    """What the evals must show before the model is shipped; changes no weight."""
    allow_leaks: Sequence[str] = ()
    """The parts that may share rows with `train`: `"validation"`, or `"evals."` and the name of an eval. Without its
    name here, a job isn't planned if a part has rows of `train`: the same answer to the same prompt or to a
    near-duplicate of it. Changes no weight."""
    backend: str | Backend = "local"
    """Where it runs: a backend's name, or a backend object with its own options."""

    @field_validator("train", "validation", mode="before")
    @classmethod
    def _rows_and_no_path(cls, data: object, info: ValidationInfo) -> object:
        name = info.field_name
        if isinstance(data, str | Path):
            given = printable(str(data), 200)
            raise DatasetError(
                f"{name} takes a Dataset, not the path of one.",
                source=given,
                hint=f"Read it: {name}=Dataset.from_file({given!r}), with .as_chat(prompt=..., completion=...) if its "
                "rows are a table.",
            )
        if isinstance(data, Sequence) or (not isinstance(data, Dataset) and hasattr(data, "columns")):
            reader = "from_rows" if isinstance(data, Sequence) else "from_table"
            raise DatasetError(
                f"{name} takes a Dataset, not a {type(data).__name__}.", hint=f"Pass {name}=Dataset.{reader}(...)."
            )
        return data

    @field_validator("train", "validation")
    @classmethod
    def _rows_of_a_stream(cls, data: Dataset | None, info: ValidationInfo) -> Dataset | None:
        stream = data if isinstance(data, DatasetStream) else None if data is None else data.source.stream
        if data is None or not isinstance(stream, DatasetStream) or "max_steps" not in info.data:
            return data
        if info.field_name != "train":
            if data is not stream:
                return data
            raise DatasetError(
                f"{info.field_name} is read as a whole, and this is a stream.",
                source=stream.name,
                hint=f"Pass {info.field_name}=stream.take(500).",
            )
        return stream.for_job(data, **{name: info.data.get(name) for name in ("max_steps", "batch_size", "packing")})

    @field_validator("train", "validation")
    @classmethod
    def _rows_that_can_be_trained(cls, data: Dataset | None) -> Dataset | None:
        if data is not None and data.format == "table":
            raise DatasetError(
                "these rows have no prompt and no completion yet."
                if data.form is None
                else f"these rows ({data.form}) can't be trained on as they are.",
                source=data.name,
                hint=data.shape_hint,
            )
        return data

    @model_validator(mode="after")
    def _leaks_of_parts_that_exist(self) -> Self:
        parts = [*(["validation"] if self.validation is not None else []), *(f"evals.{e.name}" for e in self.evals)]
        for name in self.allow_leaks:
            if name not in parts:
                known = nearest(name, parts) if parts else "; the job has no validation and no evals"
                raise ValueError(f"allow_leaks names {name!r}, which is no part of the job{known}")
        return self

    @model_validator(mode="after")
    def _gate_on_what_is_measured(self) -> Self:
        if self.gate is not None:
            check_gate(self.gate, self.evals)
        return self

    @field_validator("backend")
    @classmethod
    def _an_object(cls, backend: str | Backend) -> str | Backend:
        if isinstance(backend, type):
            raise ValueError(f"is the class; write backend={backend.__name__}(), with brackets")
        return backend

    @property
    def resolved_backend(self) -> Backend:
        """The backend as an object."""
        return get_backend(self.backend) if isinstance(self.backend, str) else self.backend

    def spec(self) -> JobSpec:
        """Return the specification that the backend receives: data by fingerprint, local paths made absolute.

        Raises:
            SpecError: Some fields don't fit together.
        """
        model = self.model if isinstance(self.model, Model) else Model(id=self.model)
        if model.source != "hub":
            model = model.replace(id=str(Path(model.id).expanduser().resolve()))
        if model.adapter is not None:
            model = model.replace(adapter=str(Path(model.adapter).expanduser().resolve()))
        fields = self._set_fields()
        if self.validation is not None:
            fields["validation"] = self.validation.ref()
        return JobSpec(**fields, model=model, train=self.train.ref())

    def plan(self) -> Plan:
        """Return the exact request for the backend, what it chose, and what the run costs. Pure and offline.

        Raises:
            UnsupportedSpecError: The backend can't honour a field that was set.
            ModelError: The model isn't found, is incomplete or isn't safe to load, or its chat template refuses a row.
            DatasetError: Training would refuse the rows: too many lose trained tokens or what their messages say.
            BudgetExceededError: The run could cost more than `budget_usd`.
            DatasetError: `validation` or an eval has rows of `train`, and `allow_leaks` doesn't name it.
        """
        from ftsdk.data.report import headline

        backend = self.resolved_backend
        plan = backend.plan(self.spec())
        rendered = RenderedRows(plan.spec, ())
        if renders_rows(backend):
            rendered = render_rows_of(plan.spec, self.train, self.validation)
        if rendered.spec != plan.spec:
            plan = backend.plan(rendered.spec)
        plan = estimated(plan, backend, self.train, self.validation, is_exact=False)
        notes = data_notes(self.train, self.validation, self._judges(), allow_leaks=self.allow_leaks)
        found = headline(self.train)
        notes = notes if found is None else (*notes, found)
        plan = plan.replace(notes=(*plan.notes, *model_notes(plan.spec), *notes, *rendered.notes))
        if self.budget_usd is not None and plan.cost is not None:
            refuse_over_budget(plan, self.budget_usd, is_quoted=isinstance(backend, CanQuote))
        return plan

    def leaks(self) -> dict[str, tuple[Leak, ...]]:
        """Return what each part that the model is judged by shares with `train`, by the part's name in `allow_leaks`.

        Each leak names two rows, counted from 0, and what they share; `is_certain` ones refuse the job.
        """
        validation = [] if self.validation is None else [JudgedBy("validation", self.validation)]
        return {judge.field: leaks_of(judge, self.train) for judge in (*validation, *self._judges())}

    def _judges(self) -> list[JudgedBy]:
        return [JudgedBy(f"evals.{e.name}", e.data) for e in self.evals]

    def estimate(
        self, *, is_exact: bool | None = None, usd_per_hour: Decimal | float | None = None, live: bool = False
    ) -> Estimate:
        """Estimate tokens, time, memory and cost, each with an interval and its source. Nothing is started.

        Args:
            is_exact: Count tokens with the model's tokenizer, which takes seconds, or guess from the text, which takes
                milliseconds. None counts if the tokenizer is on this machine.
            usd_per_hour: US dollars per hour of the hardware, for your own hardware or instead of the backend's list
                prices.
            live: Ask the provider for a quote, and use it instead of our estimate. It may upload the data; nothing is
                spent. False works offline.

        Raises:
            UnsupportedSpecError: The backend can't honour a field that was set, or offers no quotes.
            SpecError: `usd_per_hour` isn't a valid price, or the backend doesn't bill hardware by the hour.
            ModelError: The model is incomplete, or isn't safe to load.
            DatasetError: The provider rejected the data.
            BackendError: The provider can't quote the run.
        """
        backend = self.resolved_backend
        if usd_per_hour is not None:
            check_amount("usd_per_hour", usd_per_hour, above=0, at_most=1e6)
        rate = None if usd_per_hour is None else exact_amount(usd_per_hour)
        if live and not isinstance(backend, CanQuote):
            raise UnsupportedSpecError(
                backend.name,
                [Gap("live", True, (), "this backend offers no quote; leave live out to get ftsdk's own estimate")],
            )
        # An estimate is never refused over its cost: plan() and submit() check it against the budget.
        spec = self.spec().replace(budget_usd=None)
        planned = backend.plan(spec)
        if renders_rows(backend) and (counted := count_sequences(spec, self.train, self.validation)) != spec:
            planned = backend.plan(counted)
        if rate is not None and planned.hardware is None:
            raise SpecError(
                f"usd_per_hour={rate}: {backend.name} doesn't bill hardware by the hour, so a price per hour "
                "changes nothing. Leave it out"
            )
        plan = estimated(planned, backend, self.train, self.validation, is_exact=is_exact, usd_per_hour=rate)
        if live and isinstance(backend, CanQuote):
            store_data(self)
            plan = plan.quoted(backend.quote(plan))
        found = plan.estimate
        assert found is not None
        if self.budget_usd is not None and found.cost is not None and found.cost.high > self.budget_usd:
            found = found.replace(
                notes=(
                    *found.notes,
                    f"budget_usd={self.budget_usd} is less than the upper end: submit() may refuse this run",
                )
            )
        return found

    def preview(self, n: int = 3) -> Preview:
        """Return what the model will see, with the tokens it will be trained on marked.

        Loads the tokenizer (not the weights) and renders all rows, so that the report counts them all.

        Args:
            n: How many rows to show.
        """
        from ftsdk.data import preview
        from ftsdk.models import load_tokenizer, rendering_options

        spec = self.spec()
        tokenizer = load_tokenizer(spec.model)
        return preview(
            self.train,
            tokenizer,
            n=n,
            train_on=spec.method.rendered_train_on,
            **rendering_options(spec.model, tokenizer, max_length=spec.max_length),
        )

    def report(self, *, queries: Sequence[str] = ()) -> DataReport:
        """Return what is wrong with `train`: rendered as this job will, and held against `validation` and the evals.

        Loads the tokenizer (not the weights). Evaluated runs of the same job on different numbers of rows, if there are
        any, show whether there are enough.

        Args:
            queries: What users ask: those without a similar prompt in `train` are found.

        Raises:
            ModelError: The model isn't found, or its tokenizer or template can't be used.
        """
        from ftsdk.data.report.build import build_report, counter_for
        from ftsdk.data.report.learning_curve import enough_rows
        from ftsdk.run.learning_points import learning_points

        spec = self.spec()
        counter = counter_for(spec.model, max_length=spec.max_length)
        judges = [] if self.validation is None else [JudgedBy("validation", self.validation)]
        return build_report(
            self.train,
            counter=replace(counter, train_on=spec.method.rendered_train_on),
            max_truncated=spec.max_truncated,
            judges=[*judges, *self._judges()],
            queries=queries,
            enough=enough_rows(learning_points(spec)),
        )

    def submit(self) -> Run:
        """Start the run and return at once.

        The run is written to the ledger before the first request, so it is found again if this process dies.

        Raises:
            UnsupportedSpecError: The backend can't honour a field that was set; nothing was written.
            BudgetExceededError: The run could cost more than `budget_usd`; nothing was started.
            BackendError: The backend refused or can't be reached; the run is in the ledger, and `Run.open(ref).wait()`
                submits it again.
        """
        return submit_job(self, key=new_key())

    def to_dict(self, *, base: Path | None = None) -> dict[str, Any]:
        """Return the job as plain data, as in its YAML file; only what was set.

        Args:
            base: The folder that relative paths are relative to; None: the current one.
        """
        model = self.model.to_dict() if isinstance(self.model, Model) else self.model
        found: dict[str, Any] = {"model": model, "train": self.train.to_dict(base)}
        if self.validation is not None:
            found["validation"] = self.validation.to_dict(base)
        found.update(JobFields(**self._set_fields()).to_dict())
        if self.evals:
            found["evals"] = [e.to_dict(base) for e in self.evals]
        if self.gate is not None:
            found["gate"] = self.gate.to_dict()
        if self.allow_leaks:
            found["allow_leaks"] = list(self.allow_leaks)
        if "backend" in self.model_fields_set:
            found["backend"] = _backend_entry(self.backend)
        return found

    def _repr_html_(self) -> str:
        named = {"model": str(self.model), "train": self.train, "validation": self.validation, "backend": self.backend}
        fields = {**named, **self._set_fields()}
        # The text of a Dataset and of a method has several lines, or no name.
        rows = [
            (name, repr(value) if isinstance(value, Dataset | Value) else str(value))
            for name, value in fields.items()
            if value is not None
        ]
        evals = [("eval", f"{one.name}: {one.scorer.name} on {len(one.data):,} rows") for one in self.evals]
        return html_table([*rows, *evals], has_row_heads=True)

    def _set_fields(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in JobFields.model_fields if name in self.model_fields_set}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, base: Path | None = None) -> Self:
        """Build a job from plain data.

        Args:
            data: As returned by `to_dict`.
            base: The folder that relative paths are relative to; None: the current one.

        Raises:
            SpecError: A key is unknown or a value is invalid, at any depth.
            DatasetError: The data can't be read.
        """
        return cls(**read_job(data, base=base or Path.cwd()))

    @classmethod
    def from_yaml(cls, path: str | Path) -> Self:
        """Read a job from a YAML file; paths in it are relative to its folder.

        Raises:
            SpecError: The file isn't YAML, a key is unknown, or a value is invalid; names the line or key.
            DatasetError: The data can't be read.
        """
        file = Path(path).expanduser()
        return cls.from_dict(load_yaml(file), base=file.resolve().parent)

    def to_yaml(self, path: str | Path | None = None) -> str:
        """Return the job as YAML, and write it to a file if `path` is set. Data from memory is saved to the data store.

        Args:
            path: The file; paths in it are written relative to its folder where that makes sense.
        """
        from ftsdk._yaml import yaml_text

        store_data(self)
        file = None if path is None else Path(path).expanduser()
        text = yaml_text(self.to_dict(base=file.resolve().parent if file else None))
        if file is not None:
            file.write_text(text, encoding="utf-8")
        return text

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """Return the JSON Schema of a job's YAML file, for editors."""
        return {
            **JobFile.model_json_schema(),
            "patternProperties": {"^x-": {"description": "For your own YAML anchors."}},
        }


def _backend_entry(backend: str | Backend) -> str | dict[str, Any]:
    if isinstance(backend, str):
        return backend
    return {"name": backend.name, "options": dict(backend.options)} if backend.options else backend.name
