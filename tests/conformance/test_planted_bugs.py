"""The suite bites: each of these backends has one bug of the kind that people write, and the named test finds it."""

from __future__ import annotations

import functools
import importlib
import json
import os
import random
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conformance_samples import billed_by_the_hour

from ftsdk._home import home
from ftsdk.errors import BackendError, BudgetExceededError, RunNotFoundError
from ftsdk.protocol import Adjustment, Artifact, Capabilities, Plan, RunStatus, StateEvent
from ftsdk.protocol.estimates import Quote
from ftsdk.spec import DoRA
from ftsdk.testing import BackendConformance, Fault, ScriptedBackend

if TYPE_CHECKING:
    from collections.abc import Iterator

LITTLE = Capabilities(
    methods=frozenset({"sft"}),
    tunings=frozenset({"lora"}),
    formats=frozenset({"chat"}),
    model_sources=frozenset({"hub"}),
    fields=frozenset({"epochs", "learning_rate"}),
)
SECRET = "sk-planted-0123456789"


# Plans


class DropsAField(ScriptedBackend):
    def _translate(self, spec):
        request, adjustments = super()._translate(spec)
        del request["warmup_ratio"]
        return request, adjustments


class DropsAFieldOfOneTuning(ScriptedBackend):
    def _translate(self, spec):
        request, adjustments = super()._translate(spec)
        if isinstance(spec.tuning, DoRA):
            request["tuning"] = {"kind": "dora", "rank": spec.tuning.rank}
        return request, adjustments


class PlansByChance(ScriptedBackend):
    def _translate(self, spec):
        request, adjustments = super()._translate(spec)
        return {**request, "suffix": f"ft-{random.SystemRandom().random()}"}, adjustments


class ForgetsAnOptionWhenRebuilt(ScriptedBackend):
    def __init__(self, *, region: str = "eu", **options: Any) -> None:
        super().__init__(**options)
        self._region = region

    def _translate(self, spec):
        request, adjustments = super()._translate(spec)
        return {**request, "region": self._region}, adjustments


class SendsOnPlan(ScriptedBackend):
    def plan(self, spec):
        self._send("status")
        return super().plan(spec)


class UploadsBeforeItRefuses(ScriptedBackend):
    def plan(self, spec):
        self._send("submit")
        return super().plan(spec)


class AcceptsWhatItDoesNotOffer(ScriptedBackend):
    def plan(self, spec):
        request, adjustments = self._translate(spec)
        return Plan(backend=self.name, spec=spec, request=request, adjustments=adjustments)


class RefusesWithoutANameForIt(ScriptedBackend):
    def plan(self, spec):
        offered = self.capabilities
        if spec.tuning.kind not in offered.tunings or spec.method.kind not in offered.methods:
            raise ValueError("can't do that")
        return super().plan(spec)


class RefusesWhatItOffers(ScriptedBackend):
    def plan(self, spec):
        if spec.method.kind == "dpo":
            raise BackendError("DPO is in beta: ask support")
        return super().plan(spec)


class ChoosesInSilence(ScriptedBackend):
    def _translate(self, spec):
        request, adjustments = super()._translate(spec)
        return {**request, "weight_decay": request.get("weight_decay", 0.01)}, adjustments


class KeepsTheLearningRateToItself(ScriptedBackend):
    def _translate(self, spec):
        return super()._translate(spec)[0], ()


class SaysOneThingAndSendsAnother(ScriptedBackend):
    def _translate(self, spec):
        request, adjustments = super()._translate(spec)
        if spec.learning_rate is None:
            adjustments = (Adjustment(field="learning_rate", chosen=3e-3, reason="sounds good"),)
        return request, adjustments


class RefusesNames(ScriptedBackend):
    def plan(self, spec):
        if spec.name:
            raise BackendError("names are not supported")
        return super().plan(spec)


class PlansUnderAnotherName(ScriptedBackend):
    def plan(self, spec):
        return super().plan(spec).replace(backend="local")


class PlansATuple(ScriptedBackend):
    def _translate(self, spec):
        request, adjustments = super()._translate(spec)
        return {**request, "betas": (0.9, 0.999)}, adjustments


# Runs


class StartsARunForEachSubmit(ScriptedBackend):
    def _id_for(self, key):
        return super()._id_for(key + os.urandom(8).hex())


class KeepsKeysInMemory(ScriptedBackend):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._salt = os.urandom(8).hex()

    def _id_for(self, key):
        return super()._id_for(key + self._salt)


class ForgetsRunsThatAreOver(ScriptedBackend):
    def _id_for(self, key):
        identifier = super()._id_for(key)
        run = self._read(identifier)
        return super()._id_for(f"{key}-again") if run and self._status_of(run).is_terminal else identifier


class IdFromAClockThatIsTooCoarse(ScriptedBackend):
    def _id_for(self, key):
        return "20261123"


class LosesRunsWithItsProcess(ScriptedBackend):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._mine: set[str] = set()

    def submit(self, plan, *, key):
        ref = super().submit(plan, key=key)
        self._mine.add(ref.id)
        return ref

    def _find(self, ref):
        if ref.id not in self._mine:
            raise RunNotFoundError(f"no run {ref.id}")
        return super()._find(ref)


class SendsAgainAfterALostAnswer(ScriptedBackend):
    """Sees that the answer is lost, and tries again by itself, under a fresh key."""

    def submit(self, plan, *, key):
        try:
            return super().submit(plan, key=key)
        except BackendError:
            super().submit(plan, key=f"{key}-retry")
            raise


class CallsALostAnswerFinal(ScriptedBackend):
    def submit(self, plan, *, key):
        try:
            return super().submit(plan, key=key)
        except BackendError as error:
            raise BackendError(str(error), retryable=False) from error


class DoesNotKnowUnknownRuns(ScriptedBackend):
    def _find(self, ref):
        return json.loads((self._root / ref.id / "run.json").read_text())


class InventsUnknownRuns(ScriptedBackend):
    def cancel(self, ref):
        if self._read(ref.id) is not None:
            super().cancel(ref)


class EventsTwice(ScriptedBackend):
    def _events_of(self, run):
        events = super()._events_of(run)
        return [*events[:3], events[2], *events[3:]] if len(events) > 2 else events


class SkipsANumber(ScriptedBackend):
    def _events_of(self, run):
        return [event.replace(seq=event.seq + (event.seq > 2)) for event in super()._events_of(run)]


class TwoEnds(ScriptedBackend):
    def _events_of(self, run):
        events = super()._events_of(run)
        last = events[-1] if events else None
        if isinstance(last, StateEvent) and last.state == "succeeded":
            events.append(last.replace(seq=last.seq + 1))
        return events


class SpeaksAfterTheEnd(ScriptedBackend):
    def events(self, ref, *, after=-1):
        events = list(super().events(ref))
        if events and isinstance(events[-1], StateEvent) and events[-1].state == "succeeded":
            events[-2], events[-1] = events[-1].replace(seq=events[-2].seq), events[-2].replace(seq=events[-1].seq)
        return events[after + 1 :]


class NewestFirst(ScriptedBackend):
    def _events_of(self, run):
        return super()._events_of(run)[::-1]

    def _status_of(self, run):
        states = [event for event in self._events_of(run) if isinstance(event, StateEvent)]
        return (
            RunStatus(state=states[0].state, native=states[0].native)
            if states
            else RunStatus(state="queued", native="pending")
        )


class GivesTheLastEventAgain(ScriptedBackend):
    def events(self, ref, *, after=-1):
        return super().events(ref, after=after - 1)


class AlwaysFromTheStart(ScriptedBackend):
    def events(self, ref, *, after=-1):
        return super().events(ref)


class RewritesHistory(ScriptedBackend):
    """The last event that is there so far has a later time when it is read later."""

    def _events_of(self, run):
        events = super()._events_of(run)
        return [*events[:-1], events[-1].replace(at=events[-1].at + 100)] if events else events


class FallsOverANewWord(ScriptedBackend):
    def _state_for(self, native):
        state = super()._state_for(native)
        if state == "unknown":
            raise KeyError(native)
        return state


class TakesANewWordForFailure(ScriptedBackend):
    def _state_for(self, native):
        state = super()._state_for(native)
        return "failed" if state == "unknown" else state


class SwallowsANewWord(ScriptedBackend):
    def _status_of(self, run):
        status = super()._status_of(run)
        return RunStatus(state="unknown", native="unknown") if status.state == "unknown" else status


class FailsWithoutAReason(ScriptedBackend):
    def _status_of(self, run):
        status = super()._status_of(run)
        return RunStatus(state=status.state, native=status.native)


class CannotCancelTwice(ScriptedBackend):
    def cancel(self, ref):
        run = self._find(ref)
        if run.get("is_cancelled"):
            raise BackendError("409: the run is being cancelled already", status_code=409)
        super().cancel(ref)


class CancelsWhatIsOver(ScriptedBackend):
    def cancel(self, ref):
        run = self._find(ref)
        self._write(
            ref.id,
            {
                **run,
                "entries": [*run["entries"][:-1], {"kind": "state", "native": "stopped"}],
                "tick": len(run["entries"]),
            },
        )


# Artifacts


class CollectsTooEarly(ScriptedBackend):
    def collect(self, ref, into):
        run = self._find(ref)
        self._write(ref.id, {**run, "tick": len(run["entries"])})
        return super().collect(ref, into)


class ManifestFirst(ScriptedBackend):
    def collect(self, ref, into):
        whole = into.with_name(f"{into.name} whole")
        artifact = super().collect(ref, whole)
        into.mkdir(parents=True, exist_ok=True)
        for path in sorted(whole.iterdir(), key=lambda path: path.name != "manifest.json"):
            (into / path.name).write_bytes(path.read_bytes())
        shutil.rmtree(whole)
        return Artifact(path=into, kind=artifact.kind, base=artifact.base, manifest=artifact.manifest)


class ManifestWithoutHashes(ScriptedBackend):
    def collect(self, ref, into):
        artifact = super().collect(ref, into)
        facts = {
            **artifact.manifest,
            "files": {name: {"bytes": f["bytes"]} for name, f in artifact.manifest["files"].items()},
        }
        (into / "manifest.json").write_text(json.dumps(facts))
        return Artifact(path=into, kind=artifact.kind, base=artifact.base, manifest=facts)


class ForgetsAFileInTheManifest(ScriptedBackend):
    def collect(self, ref, into):
        artifact = super().collect(ref, into)
        (into / "adapter_config.json").write_text('{"peft_type": "LORA", "task_type": "CAUSAL_LM"}')
        return artifact


class SavesAPickle(ScriptedBackend):
    def _write_weights(self, spec, into):
        kind, base = super()._write_weights(spec, into)
        (into / "training_args.bin").write_bytes(b"\x80\x04N.")
        return kind, base


class TrustsWhatLiesThere(ScriptedBackend):
    """Downloads a file only if there is none of that name, and hashes whatever it finds."""

    def _write_weights(self, spec, into):
        there = {path.name: path.read_bytes() for path in into.glob("adapter_*")}
        kind, base = super()._write_weights(spec, into)
        for name, content in there.items():
            (into / name).write_bytes(content)
        return kind, base


class TrustsTheHashOfTheSource(TrustsWhatLiesThere):
    """As above, with the manifest of the source: so what was there is taken for whole."""

    def collect(self, ref, into):
        whole = into.with_name(f"{into.name} whole")
        artifact = ScriptedBackend.collect(self, ref, whole)
        into.mkdir(parents=True, exist_ok=True)
        for path in whole.iterdir():
            if not (into / path.name).exists():
                (into / path.name).write_bytes(path.read_bytes())
        return Artifact(path=into, kind=artifact.kind, base=artifact.base, manifest=artifact.manifest)


# Budgets


class HidesItsPrice(ScriptedBackend):
    def plan(self, spec):
        return super().plan(spec).replace(billing=None)


class AsksForAQuoteBeforeItRefuses(ScriptedBackend):
    def plan(self, spec):
        if spec.budget_usd is not None:
            self._send("quote")
        return super().plan(spec)


class WritesBeforeItRefuses(ScriptedBackend):
    def plan(self, spec):
        if spec.budget_usd is not None:
            (home() / "quotes").mkdir(parents=True, exist_ok=True)
            (home() / "quotes" / "last.json").write_text("{}")
        return super().plan(spec)


class StopsWhenItLikes(ScriptedBackend):
    def cancel(self, ref):
        self._send("cancel", run=ref.id)


class ResumesWhatHasUsedUpItsBudget(ScriptedBackend):
    def resume(self, ref):
        self._write(
            ref.id,
            {**self._find(ref), "entries": [{"kind": "state", "native": "running"}], "tick": 1, "is_cancelled": False},
        )
        return True


class SubmitsWhatHasUsedUpItsBudgetAgain(ScriptedBackend):
    def submit(self, plan, *, key):
        run = self._read(key)
        if run is not None and run.get("is_cancelled"):
            (self._root / key / "run.json").unlink()
        return super().submit(plan, key=key)


# Secrets


class KeyInOptions(ScriptedBackend):
    def __init__(self, *, api_key: str = SECRET, **options: Any) -> None:
        super().__init__(**options)
        self._api_key = api_key

    @property
    def options(self):
        return {**super().options, "api_key": self._api_key}


class KeyInRepr(ScriptedBackend):
    def __repr__(self):
        return f"{type(self).__name__}(key={SECRET!r})"


class KeyInTheRef(ScriptedBackend):
    def submit(self, plan, *, key):
        ref = super().submit(plan, key=key)
        return type(ref)(
            backend=ref.backend, id=ref.id, native={**ref.native, "url": f"https://user:{SECRET}@example.com"}
        )


class KeyInThePlan(ScriptedBackend):
    def _translate(self, spec):
        request, adjustments = super()._translate(spec)
        return {**request, "headers": {"Authorization": f"Bearer {SECRET}"}}, adjustments


class KeyInAnError(ScriptedBackend):
    def _find(self, ref):
        try:
            return super()._find(ref)
        except RunNotFoundError as error:
            raise RunNotFoundError(f"GET /jobs/{ref.id} with Authorization: Bearer {SECRET}: 404") from error


# Prices


class Quoting(ScriptedBackend):
    """A place that tells its price, without a bug."""

    asked = 0

    def _check_quote(self, plan):
        terms = None if plan.estimate is None else plan.estimate.billing_terms
        is_by_hour = terms is not None and terms.kind == "per_hour"
        if plan.spec.budget_usd is not None and not is_by_hour and self.quote(plan).usd > plan.spec.budget_usd:
            raise BudgetExceededError(f"it costs {self.quote(plan).usd}")

    def quote(self, plan: Plan) -> Quote:
        return Quote(usd=Decimal(5), source="a test", asked_at=1.7e9)

    def submit(self, plan, *, key):
        self._check_quote(plan)
        ref = super().submit(plan, key=key)
        return replace(ref, native={**ref.native, **self.quote(plan).to_native()})


class IgnoresItsOwnQuote(Quoting):
    def _check_quote(self, plan):
        pass


class QuotesByCreating(Quoting):
    def quote(self, plan):
        ScriptedBackend.submit(self, plan, key=f"asked-{random.SystemRandom().random()}")
        return super().quote(plan)

    def submit(self, plan, *, key):
        return ScriptedBackend.submit(self, plan, key=key)


class QuotesByTheMoon(Quoting):
    def quote(self, plan):
        self.asked += 1
        return super().quote(plan).replace(usd=Decimal(self.asked))


class ForgetsItsPrice(Quoting):
    def submit(self, plan, *, key):
        return ScriptedBackend.submit(self, plan, key=key)


class AsksAgainForAPrice(Quoting):
    def submit(self, plan, *, key):
        ref = ScriptedBackend.submit(self, plan, key=key)
        self.asked += 1
        return replace(ref, native={**ref.native, **self.quote(plan).replace(asked_at=1.7e9 + self.asked).to_native()})


@dataclass(frozen=True)
class Bug:
    backend: type[ScriptedBackend]
    found_by: str
    says: str
    """A piece of what the failing test says, so that it fails for this and nothing else."""
    options: tuple[tuple[str, Any], ...] = ()


BUGS = (
    Bug(DropsAField, "test_no_declared_field_is_ignored", "warmup_ratio is ignored"),
    Bug(DropsAFieldOfOneTuning, "test_no_declared_field_is_ignored", "tuning.dropout of dora is ignored"),
    Bug(PlansByChance, "test_the_same_spec_gives_the_same_plan", "two plans of one spec differ"),
    Bug(
        ForgetsAnOptionWhenRebuilt,
        "test_the_same_spec_gives_the_same_plan",
        "built again from its options",
        (("region", "us"),),
    ),
    Bug(SendsOnPlan, "test_planning_sends_nothing", "plan() sent a request"),
    Bug(
        UploadsBeforeItRefuses,
        "test_what_is_not_declared_is_refused_by_name",
        "requests went out",
        (("capabilities", LITTLE),),
    ),
    Bug(
        AcceptsWhatItDoesNotOffer,
        "test_what_is_not_declared_is_refused_by_name",
        "seed isn't declared, but a plan",
        (("capabilities", LITTLE),),
    ),
    Bug(
        RefusesWithoutANameForIt,
        "test_what_is_not_declared_is_refused_by_name",
        "can't do that",
        (("capabilities", LITTLE),),
    ),
    Bug(RefusesWhatItOffers, "test_declared_means_planned", "DPO is in beta"),
    Bug(
        ChoosesInSilence, "test_what_the_spec_left_open_is_reported", "weight_decay is None and the request has [0.01]"
    ),
    Bug(KeepsTheLearningRateToItself, "test_what_the_spec_left_open_is_reported", "learning_rate is None"),
    Bug(SaysOneThingAndSendsAnother, "test_what_the_spec_left_open_is_reported", "lists 0.003 as chosen"),
    Bug(PlansATuple, "test_declared_means_planned", "doesn't survive JSON"),
    Bug(RefusesNames, "test_a_name_is_never_refused", "names are not supported"),
    Bug(PlansUnderAnotherName, "test_plans_and_capabilities_survive_json", "the backend is 'scripted'"),
    Bug(StartsARunForEachSubmit, "test_the_same_key_is_the_same_run", "one key made two runs"),
    Bug(KeepsKeysInMemory, "test_the_same_key_is_the_same_run", "from a backend built again"),
    Bug(ForgetsRunsThatAreOver, "test_the_same_key_is_the_same_run", "once the run was over"),
    Bug(IdFromAClockThatIsTooCoarse, "test_the_same_key_is_the_same_run", "two keys made one run"),
    Bug(LosesRunsWithItsProcess, "test_a_ref_outlives_its_backend_object", "no run"),
    Bug(SendsAgainAfterALostAnswer, "test_a_lost_answer_does_not_start_a_second_run", "2 runs were started"),
    Bug(CallsALostAnswerFinal, "test_a_lost_answer_does_not_start_a_second_run", "must be a retryable"),
    Bug(DoesNotKnowUnknownRuns, "test_unknown_refs_are_not_found", "No such file"),
    Bug(InventsUnknownRuns, "test_unknown_refs_are_not_found", "DID NOT RAISE"),
    Bug(EventsTwice, "test_events_are_numbered_and_end_once", "seq should be 0, 1, 2"),
    Bug(SkipsANumber, "test_events_are_numbered_and_end_once", "seq should be 0, 1, 2"),
    Bug(TwoEnds, "test_events_are_numbered_and_end_once", "exactly one terminal state"),
    Bug(SpeaksAfterTheEnd, "test_events_are_numbered_and_end_once", "go back in time"),
    Bug(NewestFirst, "test_events_are_numbered_and_end_once", "seq should be 0, 1, 2"),
    Bug(GivesTheLastEventAgain, "test_events_can_be_taken_up_anywhere", "aren't the events after"),
    Bug(AlwaysFromTheStart, "test_events_can_be_taken_up_anywhere", "aren't the events after"),
    Bug(RewritesHistory, "test_events_can_be_taken_up_anywhere", "one by one"),
    Bug(FallsOverANewWord, "test_unknown_words_survive", "defragmenting"),
    Bug(TakesANewWordForFailure, "test_unknown_words_survive", "became the state 'failed'"),
    Bug(SwallowsANewWord, "test_unknown_words_survive", "the native state 'defragmenting' is lost"),
    Bug(FailsWithoutAReason, "test_a_failed_run_says_why", "no diagnosis"),
    Bug(CannotCancelTwice, "test_cancelling_twice_is_cancelling_once", "409"),
    Bug(CancelsWhatIsOver, "test_cancelling_after_the_end_changes_nothing", "changed the status"),
    Bug(CollectsTooEarly, "test_nothing_is_collected_before_the_end", "DID NOT RAISE"),
    Bug(ManifestFirst, "test_the_manifest_comes_last", "couldn't be written, and yet"),
    Bug(ManifestWithoutHashes, "test_the_artifact_is_whole", "SHA-256"),
    Bug(ForgetsAFileInTheManifest, "test_the_artifact_is_whole", "bytes; the manifest has"),
    Bug(SavesAPickle, "test_the_artifact_is_whole", "may be a pickle"),
    Bug(TrustsWhatLiesThere, "test_leavings_of_a_crash_are_mended", "halves of files were kept"),
    Bug(TrustsTheHashOfTheSource, "test_leavings_of_a_crash_are_mended", "bytes; the manifest has"),
    Bug(HidesItsPrice, "test_a_run_that_could_cost_more_than_its_budget_is_not_started", "its plan has no cost"),
    Bug(
        AsksForAQuoteBeforeItRefuses,
        "test_a_run_that_could_cost_more_than_its_budget_is_not_started",
        "requests went out before the refusal",
    ),
    Bug(
        WritesBeforeItRefuses, "test_a_run_that_could_cost_more_than_its_budget_is_not_started", "something was written"
    ),
    Bug(IgnoresItsOwnQuote, "test_a_run_whose_quote_is_over_its_budget_is_not_started", "DID NOT RAISE"),
    Bug(
        StopsWhenItLikes,
        "test_a_run_that_reaches_its_budget_is_stopped_for_good",
        "a run that has used up its budget is running",
    ),
    Bug(
        ResumesWhatHasUsedUpItsBudget,
        "test_a_run_that_reaches_its_budget_is_stopped_for_good",
        "resume() restarted a run",
    ),
    Bug(
        SubmitsWhatHasUsedUpItsBudgetAgain,
        "test_a_run_that_reaches_its_budget_is_stopped_for_good",
        "was cancelled, and is running",
    ),
    Bug(
        QuotesByCreating, "test_asking_for_a_price_starts_nothing_and_the_same_job_has_the_same_price", "started a run"
    ),
    Bug(QuotesByTheMoon, "test_asking_for_a_price_starts_nothing_and_the_same_job_has_the_same_price", "then"),
    Bug(ForgetsItsPrice, "test_the_price_that_was_told_at_the_submission_is_kept_with_the_run", "keeps no price"),
    Bug(AsksAgainForAPrice, "test_the_price_that_was_told_at_the_submission_is_kept_with_the_run", "lost the price"),
    Bug(KeyInOptions, "test_nothing_says_a_secret", "options"),
    Bug(KeyInRepr, "test_nothing_says_a_secret", "backend"),
    Bug(KeyInTheRef, "test_nothing_says_a_secret", "ref"),
    Bug(KeyInThePlan, "test_nothing_says_a_secret", "plan"),
    Bug(KeyInAnError, "test_nothing_says_a_secret", "error"),
)


class Suite(BackendConformance):
    """The conformance suite for one bug; not collected by pytest, because it is run by hand below."""

    def __init__(self, backend: type[ScriptedBackend], options: dict[str, Any]) -> None:
        self._build = functools.partial(backend, **options)

    def make_backend(self, tmp_path, **options):
        return self._build(root=tmp_path / "place", **options)

    def requests_seen(self, backend: Any) -> int:
        return len(backend.requests)

    def runs_started(self, backend: Any) -> int:
        return len(backend.runs)

    def secrets(self):
        return [SECRET]

    @contextmanager
    def lost_answer(self, backend: Any) -> Iterator[None]:
        backend._faults = (Fault(call="submit", loses_answer=True),)
        yield
        backend._faults = ()

    def run_in_unknown_state(self, tmp_path):
        backend = self.make_backend(tmp_path, script="unknown_state")
        ref = self._submitted(backend)
        for _ in range(6):
            backend.status(ref)
        return backend, ref, "defragmenting"

    def failed_run(self, tmp_path):
        backend = self.make_backend(tmp_path, script="fails")
        return backend, self._submitted(backend)

    def billing_backend(self, tmp_path):
        return self.make_backend(tmp_path, cost_usd=(1, 2, 3))

    def costly_run(self, tmp_path):
        return billed_by_the_hour(self.make_backend(tmp_path, script="never_ends"))


def verdict(
    backend: type[ScriptedBackend], test: str, tmp_path: Path, options: dict[str, Any] | None = None
) -> str | None:
    """What the test says against the backend; None if it passes."""
    try:
        getattr(Suite(backend, options or {}), test)(tmp_path)
    except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 - a bug may show itself in any way
        return f"{type(error).__name__}: {error}"
    return None


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.backend.__name__)
def test_a_planted_bug_is_found_by_the_named_test(bug: Bug, tmp_path: Path) -> None:
    said = verdict(bug.backend, bug.found_by, tmp_path, dict(bug.options))
    assert said is not None, f"{bug.found_by} is blind to {bug.backend.__name__}"
    assert bug.says in said


@pytest.mark.parametrize("test", sorted({bug.found_by for bug in BUGS}))
def test_the_test_that_finds_bugs_passes_where_there_are_none(test: str, tmp_path: Path) -> None:
    assert verdict(Quoting, test, tmp_path) is None


def test_a_backend_that_knows_its_runs_in_one_process_only_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "planted_process_bug.py").write_text(
        "import os\n"
        "from ftsdk.errors import RunNotFoundError\n"
        "from ftsdk.testing import ScriptedBackend\n"
        "class LivesInOneProcess(ScriptedBackend):\n"
        "    def _id_for(self, key):\n"
        "        return super()._id_for(f'{key}-{os.getpid()}')\n"
        "    def _find(self, ref):\n"
        "        run = super()._find(ref)\n"
        "        if self._id_for(run['key']) != ref.id:\n"
        "            raise RunNotFoundError('started by another process')\n"
        "        return run\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    backend = importlib.import_module("planted_process_bug").LivesInOneProcess
    said = verdict(backend, "test_a_ref_outlives_its_process", tmp_path)
    assert said is not None
    assert "started by another process" in said


def test_every_test_of_the_suite_has_a_bug_to_find() -> None:
    elsewhere = {
        "test_a_ref_outlives_its_process",  # above
        "test_wire_faults_become_our_errors",  # test_wire.py
        "test_a_fault_in_submit_does_not_start_a_second_run",  # test_wire.py
    }
    checks = {name for name in dir(BackendConformance) if name.startswith("test_")}
    assert {bug.found_by for bug in BUGS} | elsewhere == checks
