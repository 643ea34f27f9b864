"""Plans: refuse or report, never ignore; and nothing is sent."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any, get_args

import pytest

from ftsdk.errors import SpecError, UnsupportedSpecError
from ftsdk.protocol import Backend, Capabilities, Plan
from ftsdk.spec import DataFormat, JobSpec, Value
from ftsdk.testing.conformance.hooks import Hooks, leaves, reopened
from ftsdk.testing.specs import Sample, members_of, spec_with

__all__ = ["PlanChecks"]

_FORMATS: tuple[DataFormat, ...] = get_args(DataFormat)
# None in these fields means that there is no such thing, not that the backend chooses.
_NONE_MEANS_NONE = frozenset({"budget_usd", "early_stopping", "max_steps", "method.privacy", "validation"})


class PlanChecks(Hooks):
    """`plan` against `capabilities`."""

    def test_declared_means_planned(self, tmp_path: Path) -> None:
        """Each declared method, tuning, format and model source can be planned, and the request is JSON."""
        backend = self.make_backend(tmp_path)
        offered = backend.capabilities
        planned: set[str] = set()
        wrong: list[str] = []
        for method in sorted(offered.methods):
            for tuning in sorted(offered.tunings):
                for data_format in sorted(offered.formats):
                    spec = self._kinds(method, tuning, data_format)
                    if spec is None:
                        continue
                    planned |= {f"method {method!r}", f"tuning {tuning!r}", f"format {data_format!r}"}
                    wrong += _problems_of_plan(backend, spec, f"{method} x {tuning} x {data_format}")
        for source in sorted(offered.model_sources):
            model = self.make_model(source)
            if model is not None:
                wrong += _problems_of_plan(
                    backend, self._base(backend).replace(model=model), f"model source {source!r}"
                )
        kinds = (("method", offered.methods), ("tuning", offered.tunings), ("format", offered.formats))
        words = {f"{what} {word!r}" for what, known in kinds for word in known}
        wrong += [
            f"{word} is declared, but nothing else that is declared goes with it" for word in sorted(words - planned)
        ]
        _none_of(wrong)

    def test_what_is_not_declared_is_refused_by_name(self, tmp_path: Path) -> None:
        """What isn't declared is refused by `UnsupportedSpecError`, which names the field, and nothing is sent."""
        backend = self.make_backend(tmp_path)
        offered = backend.capabilities
        before = self.requests_seen(backend)
        cases: list[tuple[str, JobSpec | None]] = []
        method, tuning = self._some_kinds(offered)
        for kind in sorted(members_of("method").keys() - offered.methods):
            cases.append(("method", self._kinds(kind, tuning)))
        for kind in sorted(members_of("tuning").keys() - offered.tunings):
            cases.append(("tuning", self._kinds(method, kind)))
        for data_format in _FORMATS:
            if data_format not in offered.formats:
                cases.append(("train.format", self.make_spec(data_format=data_format)))
        for source in ("hub", "folder", "gguf"):
            model = self.make_model(source)
            if source not in offered.model_sources and model is not None:
                cases.append(("model.source", self._base(backend).replace(model=model)))
        for sample in self.make_samples():
            if not offered.honours(sample.path) and _owner_is_offered(sample, offered) and sample.values[0] is not None:
                cases.append((sample.path, self._sampled(backend, sample, sample.values[0])))
        wrong = [
            problem
            for field, spec in cases
            if spec is not None
            for problem in _problems_of_refusal(backend, spec, field)
        ]
        if self.requests_seen(backend) != before:
            wrong.append(
                f"requests went out while plans were refused: {before} before, {self.requests_seen(backend)} after"
            )
        _none_of(wrong)

    def test_planning_sends_nothing(self, tmp_path: Path) -> None:
        """`plan` is offline."""
        backend = self.make_backend(tmp_path)
        before = self.requests_seen(backend)
        if before is None:
            pytest.skip("requests_seen() isn't overridden: there is no wire to watch")
        backend.plan(self._base(backend))
        assert self.requests_seen(backend) == before, "plan() sent a request"

    def test_the_same_spec_gives_the_same_plan(self, tmp_path: Path) -> None:
        """Twice from one backend, and once from another one built by its options."""
        backend = self.make_backend(tmp_path)
        spec = self._base(backend)
        first = backend.plan(spec).to_dict()
        assert backend.plan(spec).to_dict() == first, "two plans of one spec differ"
        assert reopened(backend).plan(spec).to_dict() == first, (
            "a plan of a backend that was built again from its options differs"
        )
        assert backend.plan(JobSpec.from_json(spec.to_json())).to_dict() == first, (
            "a plan of the same spec read back from JSON differs"
        )

    def test_no_declared_field_is_ignored(self, tmp_path: Path) -> None:
        """Two values of a declared field make two requests."""
        backend = self.make_backend(tmp_path)
        offered = backend.capabilities
        wrong: list[str] = []
        for sample in self.make_samples():
            if not offered.honours(sample.path) or not _owner_is_offered(sample, offered):
                continue
            try:
                first, second = (backend.plan(self._sampled(backend, sample, value)).request for value in sample.values)
            except SpecError as error:
                wrong.append(f"{sample} is declared, but refused: {error}")
                continue
            if first == second and sample.path not in self.honoured_elsewhere:
                wrong.append(
                    f"{sample} is ignored: {sample.values[0]!r} and {sample.values[1]!r} make the same request"
                )
        _none_of(wrong)

    def test_what_the_spec_left_open_is_reported(self, tmp_path: Path) -> None:
        """A value in the request for a field that is None is listed among the adjustments, and is the one listed."""
        backend = self.make_backend(tmp_path)
        offered = backend.capabilities
        samples = [s for s in self.make_samples() if offered.honours(s.path) and _owner_is_offered(s, offered)]
        # Paths that change with the seed are digests of the whole request, not choices.
        digests = {path for sample in samples if sample.path == "seed" for path in self._paths(backend, sample)}
        wrong: list[str] = []
        for sample in samples:
            if not _is_open_by_default(sample):
                continue
            plan = backend.plan(self._sampled(backend, sample, None))
            there = dict(leaves(plan.request))
            filled = [
                there[path]
                for path in sorted(self._paths(backend, sample) - digests, key=str)
                if there.get(path) is not None
            ]
            chosen = [adjustment.chosen for adjustment in plan.adjustments if adjustment.field == sample.path]
            if not chosen and (filled or sample.path == "learning_rate"):
                wrong.append(f"{sample} is None and the request has {filled}: the plan's adjustments must list it")
            elif (
                chosen and filled and _is_number(chosen[0]) and all(map(_is_number, filled)) and chosen[0] not in filled
            ):
                wrong.append(f"{sample}: the plan lists {chosen[0]!r} as chosen, and the request has {filled}")
            wrong += [f"the adjustment of {a.field} has no reason" for a in plan.adjustments if not a.reason]
        _none_of(wrong)

    def test_a_name_is_never_refused(self, tmp_path: Path) -> None:
        """`name` is a display name: every backend accepts it."""
        backend = self.make_backend(tmp_path)
        assert backend.plan(self._base(backend).replace(name="conformance")).spec.name == "conformance"

    def test_plans_and_capabilities_survive_json(self, tmp_path: Path) -> None:
        """What is written to the ledger reads back equal."""
        backend = self.make_backend(tmp_path)
        plan = backend.plan(self._base(backend))
        again = Plan.from_json(plan.to_json())
        assert again.to_dict() == plan.to_dict(), "a plan read back from JSON differs"
        assert again.spec == plan.spec, "the spec in a plan read back from JSON differs"
        assert plan.backend == backend.name, f"the plan names {plan.backend!r}, the backend is {backend.name!r}"
        assert Capabilities.from_json(backend.capabilities.to_json()) == backend.capabilities, (
            "capabilities read back from JSON differ"
        )
        assert isinstance(backend, Backend), "it lacks a member of the Backend protocol"

    # How specs are made for one backend.

    def _some_kinds(self, offered: Capabilities) -> tuple[str, str]:
        """A method and a tuning that are offered, the ones of `make_spec` if possible."""
        spec = self.make_spec()
        method = spec.method.kind if spec.method.kind in offered.methods else min(offered.methods)
        tuning = spec.tuning.kind if spec.tuning.kind in offered.tunings else min(offered.tunings)
        return method, tuning

    def _base(self, backend: Backend) -> JobSpec:
        spec = self._kinds(*self._some_kinds(backend.capabilities))
        assert spec is not None
        return spec

    def _kinds(
        self, method: str, tuning: str, data_format: str | None = None, *, with_validation: bool = False
    ) -> JobSpec | None:
        """A spec with this method and tuning; None if the method can't use such data or isn't the tuning's."""
        for known in _FORMATS:
            spec = self.make_spec(data_format=known, with_validation=with_validation)
            changes: dict[str, Any] = {}
            if spec.method.kind != method:
                changes["method"] = members_of("method")[method]()
            if spec.tuning.kind != tuning:
                changes["tuning"] = members_of("tuning")[tuning]()
            if data_format in (None, known):
                try:
                    made = spec.replace(**changes)
                except SpecError:
                    continue
                if not (made.tuning.trains_on_answers_alone and made.method.compares_answers):
                    return made
        return None

    def _sampled(self, backend: Backend, sample: Sample, value: Any) -> JobSpec:
        method, tuning = self._some_kinds(backend.capabilities)
        base = self._kinds(sample.method or method, sample.tuning or tuning, with_validation=sample.needs_validation)
        assert base is not None, f"no data of make_spec() go with {sample}"
        if sample.path == "validation" and value is not None:
            value = value.replace(format=base.train.format)
        return spec_with(sample.path, value, base=base, method=sample.method, tuning=sample.tuning)

    def _paths(self, backend: Backend, sample: Sample) -> set[tuple[str | int, ...]]:
        """Return where in the request the field is: the paths that differ between two of its values."""
        first, second = (
            dict(leaves(backend.plan(self._sampled(backend, sample, value)).request)) for value in sample.values
        )
        return {path for path in first.keys() & second.keys() if first[path] != second[path]}


def _problems_of_plan(backend: Backend, spec: JobSpec, what: str) -> list[str]:
    try:
        request = backend.plan(spec).request
    except SpecError as error:
        return [f"{what} is declared, but refused: {error}"]
    try:
        same = json.loads(json.dumps(request, allow_nan=False))
    except (TypeError, ValueError) as error:
        return [f"{what}: the request isn't JSON: {error}"]
    if same != request:
        return [f"{what}: the request doesn't survive JSON (a tuple, or a key that is no string?)"]
    return [] if request else [f"{what}: the request is empty"]


def _problems_of_refusal(backend: Backend, spec: JobSpec, field: str) -> list[str]:
    try:
        backend.plan(spec)
    except UnsupportedSpecError as error:
        if not any(gap.field == field or gap.field.startswith(f"{field}.") for gap in error.gaps):
            return [f"{field} isn't declared; the refusal names {[gap.field for gap in error.gaps]} instead"]
        copy = pickle.loads(pickle.dumps(error))
        return (
            []
            if (str(copy), copy.gaps) == (str(error), error.gaps)
            else [f"the refusal of {field} doesn't survive pickling"]
        )
    except SpecError as error:
        return [
            f"{field} isn't declared, and is refused by {type(error).__name__} instead of UnsupportedSpecError: {error}"
        ]
    return [f"{field} isn't declared, but a plan with it is accepted"]


def _owner_is_offered(sample: Sample, offered: Capabilities) -> bool:
    return sample.method in (None, *offered.methods) and sample.tuning in (None, *offered.tunings)


def _is_open_by_default(sample: Sample) -> bool:
    head, _, rest = sample.path.partition(".")
    if sample.path in _NONE_MEANS_NONE or head == "model":
        return False
    owner: type[Value] = JobSpec
    if rest:
        kind = sample.method or sample.tuning
        if kind is None:
            return False
        owner = members_of(head)[kind]
    part, dot, _ = (rest or head).partition(".")
    # A field of a part, such as `privacy.max_grad_norm`, is open only if the part is, and then there is none.
    return not dot and owner.model_fields[part].default is None


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _none_of(wrong: list[str]) -> None:
    assert not wrong, "\n".join(wrong)
