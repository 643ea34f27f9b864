"""`backend="together"`: the same job on Together's managed fine-tuning."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from pydantic import SecretStr

from ftsdk._home import home
from ftsdk.backends.managed.run_state import RunFolder
from ftsdk.backends.together.billing import billing_of
from ftsdk.backends.together.catalogue import catalogue
from ftsdk.backends.together.client import Wire, clean_base_url, find_key
from ftsdk.backends.together.collection import WEIGHTS, collect
from ftsdk.backends.together.monitor import Watch, status_at_end
from ftsdk.backends.together.preflight import Inquiry
from ftsdk.backends.together.pricing import read_quote
from ftsdk.backends.together.serving import TogetherServing
from ftsdk.backends.together.submission import Submission
from ftsdk.backends.together.translate import CAPABILITIES, choose_model, suffix_for, translate
from ftsdk.cost.pricebook.book import PriceBook
from ftsdk.errors import BackendError, BudgetExceededError, Gap, RunNotFoundError, RunNotReadyError, SpecError, UnsupportedSpecError
from ftsdk.protocol import Artifact, Capabilities, Event, Plan, RunRef, RunStatus, Workload, find_gaps, refuse
from ftsdk.protocol.estimates import Quote
from ftsdk.protocol.serving import ServingOffer, ServingPlan, ServingStatus

__all__ = ["Together"]


class Together:
    """Together's managed fine-tuning. Nothing is sent before `submit`, and the key is no part of this object's options.

    Args:
        base_url: Where the service is; None: Together's own address, or TOGETHER_BASE_URL. A `/v1` at its end is taken off.
        project_id: The project; None: the key's own, or TOGETHER_PROJECT_ID.
        models: Names that you know better than the catalogue: hub id to the service's name.
        timeout_s: Seconds to wait for an answer.
        max_retries: How often a question is asked again after a failure. A job is never created twice, whatever this says.
        poll_s: The least seconds between two questions about the same thing.
        weights: What `collect` brings of a LoRA job: `"adapter"`, or `"merged"`, the whole model with the adapter in it.
        settle_s: Seconds after which a job whose creation got no answer would be in the service's list, if there were one.
        api_key: The key; None: TOGETHER_API_KEY, which is also what another process uses that opens the run.
        clock: Seconds since the epoch.
        sleep: Waits for some seconds.

    Raises:
        SpecError: `base_url` holds a password, or `weights` is neither.
    """

    def __init__(
        self,
        *,
        base_url: str | None = None,
        project_id: str | None = None,
        models: Mapping[str, str] | None = None,
        timeout_s: float = 60.0,
        max_retries: int = 2,
        poll_s: float = 2.0,
        settle_s: float = 300.0,
        weights: Literal["adapter", "merged"] = "adapter",
        api_key: SecretStr | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._options: dict[str, Any] = {
            "base_url": clean_base_url(base_url),
            "project_id": project_id,
            "models": dict(models) if models else None,
        }
        if weights not in WEIGHTS:
            raise SpecError(f"weights must be one of {', '.join(WEIGHTS)}; got {weights!r}")
        defaults = {
            "weights": (weights, "adapter"),
            "timeout_s": (timeout_s, 60.0),
            "max_retries": (max_retries, 2),
            "poll_s": (poll_s, 2.0),
            "settle_s": (settle_s, 300.0),
        }
        self._options.update({name: given for name, (given, default) in defaults.items() if given != default})
        self._models = dict(models or {})
        self._timeout_s, self._max_retries, self._poll_s, self._settle_s = timeout_s, max_retries, poll_s, settle_s
        self._weights = weights
        self._api_key = api_key
        self._clock = clock
        self._sleep = sleep
        self._connection: Wire | None = None
        self._mirrored_at: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{key}={value!r}' for key, value in self.options.items())})"

    @property
    def name(self) -> str:
        """The word in `backend="..."`."""
        return "together"

    @property
    def capabilities(self) -> Capabilities:
        """What the service can do."""
        return CAPABILITIES

    @property
    def options(self) -> Mapping[str, Any]:
        """The arguments that rebuild it, without any secret."""
        return {name: value for name, value in self._options.items() if value is not None}

    def plan(self, spec: Any) -> Plan:
        """Decide everything, send nothing.

        Raises:
            UnsupportedSpecError: A field that was set can't be honoured, or the service doesn't tune this model.
            BudgetExceededError: `budget_usd` is below the least that a job costs.
        """
        refuse(self.name, find_gaps(spec, self.capabilities))
        book = catalogue()
        choice = choose_model(spec, book, self._models)
        if isinstance(choice, Gap):
            raise UnsupportedSpecError(self.name, [choice])
        translation = translate(spec, choice, book)
        refuse(self.name, list(translation.gaps))
        prices = PriceBook.load()
        minimum = book.minimum(choice.known, prices)
        if spec.budget_usd is not None and spec.budget_usd < minimum.usd:
            raise BudgetExceededError(
                f"a job on {spec.model.id} costs at least ${minimum.usd:.2f} at Together ({minimum.cited}), more than "
                f"budget_usd={spec.budget_usd}. Raise the budget, or train on another backend."
            )
        max_length = spec.max_length or next((a.chosen for a in translation.adjustments if a.field == "max_length"), None)
        return Plan(
            backend=self.name,
            spec=spec,
            request=translation.request,
            adjustments=translation.adjustments,
            workload=Workload.of(spec, max_length=max_length),
            billing=billing_of(spec, choice.known, translation.request["create"], max_length=max_length, minimum=minimum, book=prices),
            notes=translation.notes,
        )

    def quote(self, plan: Plan) -> Quote:
        """Upload the data, unless they are there, and ask what the job would cost. Creates none, and spends nothing.

        Raises:
            UnsupportedSpecError: The service's own limits don't allow it; nothing was uploaded.
            DatasetError: The service refused the data.
            BudgetExceededError: The account is in no state to be told a price (402). A price that is too high is given all the same.
            BackendError: The service can't say, said no, or nothing.
        """
        drafts = home() / "together"
        drafts.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="quote-", dir=drafts) as folder:
            inquiry = self._inquiry(plan, Path(folder))
            inquiry.limits()
            answer = inquiry.price({**plan.request["create"], **inquiry.files()})
        return read_quote(answer, minimum=self._minimum(plan), asked_at=self._clock())

    def submit(self, plan: Plan, *, key: str) -> RunRef:
        """Upload the data, ask for limits and price, and create one job; the same key never makes a second one.

        Raises:
            UnsupportedSpecError: The service's own limits don't allow it; nothing was uploaded.
            DatasetError: The service refused the data; nothing was created.
            BudgetExceededError: The service's estimate is over `budget_usd`, or its account can't pay; nothing was created.
            BackendError: The service said no, or nothing. If retryable, the same key may be submitted again.
        """
        folder = RunFolder(key)
        if not folder.is_key(key):
            raise SpecError(f"run key {key!r} can't name a folder: use letters, digits, '.', '_' and '-', at most 80")
        suffix = suffix_for(key, plan.request, name=plan.spec.name)
        with folder.held(patience_s=self._timeout_s) as is_mine:
            if not is_mine:
                raise BackendError(f"another process is submitting run {key}; try again in a moment", retryable=True)
            folder.keep_submission(plan, suffix)
            jobs = folder.jobs()
            if not jobs:
                jobs = [self._submission(folder, plan, suffix).run(minimum=self._minimum(plan))]
            return RunRef(backend=self.name, id=key, native={"job": jobs[-1], "suffix": suffix, **folder.quote()})

    def find(self, plan: Plan, *, key: str) -> RunRef | None:
        """Look for the job of a run by its suffix; creates nothing.

        Raises:
            BackendError: The answer to creating it was lost, and it may still appear in the service's list.
        """
        folder = RunFolder(key)
        with folder.held(patience_s=self._timeout_s) as is_mine:
            if not is_mine:
                raise BackendError(f"another process is submitting run {key}; try again in a moment", retryable=True)
            suffix = suffix_for(key, plan.request, name=plan.spec.name)
            jobs = folder.jobs()
            if not jobs:
                found = self._submission(folder, plan, suffix).find()
                jobs = [] if found is None else [found]
            return RunRef(backend=self.name, id=key, native={"job": jobs[-1], "suffix": suffix, **folder.quote()}) if jobs else None

    def status(self, ref: RunRef) -> RunStatus:
        """Ask where the run is. Once it is over, and everything about it is written down here, nothing is asked any more.

        Raises:
            RunNotFoundError: Neither this machine nor the service knows it.
        """
        folder = self._folder(ref)
        over = status_at_end(folder)
        if over is not None:
            return over
        if not folder.jobs():
            return RunStatus(state="queued", native="intended", reason="it isn't known to be created; submit again under the same key")
        return self._watch(folder).status()

    def events(self, ref: RunRef, *, after: int = -1) -> Iterable[Event]:
        """Give the events that exist now and come after `after`.

        Raises:
            RunNotFoundError: Neither this machine nor the service knows it.
        """
        folder = self._folder(ref)
        is_due = self._clock() - self._mirrored_at.get(ref.id, float("-inf")) >= self._poll_s
        if folder.jobs() and is_due and status_at_end(folder) is None:
            self._watch(folder).mirror()
            self._mirrored_at[ref.id] = self._clock()
        return [event for event in folder.events() if event.seq > after]

    def cancel(self, ref: RunRef) -> None:
        """Ask the service to stop the run; the steps made so far are billed. Asking twice, or after the end, does nothing.

        Raises:
            RunNotFoundError: Neither this machine nor the service knows it.
            BackendError: It isn't known whether there is a job: submit again under the same key first.
        """
        folder = self._folder(ref)
        if status_at_end(folder) is not None:
            return
        if not folder.jobs():
            raise BackendError(f"run {ref} isn't known to be created, so there is nothing to cancel yet; submit it again first", retryable=True)
        self._watch(folder).cancel()

    def collect(self, ref: RunRef, into: Path) -> Artifact:
        """Download the weights, unpack them safely, and seal them.

        Raises:
            RunNotReadyError: The run hasn't succeeded.
            CorruptArtifactError: What came isn't whole, or isn't safe.
            BackendError: The download broke off; collecting again goes on where it stopped.
        """
        folder = self._folder(ref)
        status = self.status(ref)
        if status.state != "succeeded":
            raise RunNotReadyError(f"run {ref} is {status.state}; weights can be collected once it has succeeded")
        return collect(self._wire(), folder, into, weights=self._weights, sleep=self._sleep)

    def serving_offers(self, ref: RunRef) -> Sequence[ServingOffer]:
        """List the hardware that can serve the run's model, with the service's prices; empty if it can't be deployed."""
        return self._serving().offers(self._job(ref))

    def start_serving(self, ref: RunRef, plan: ServingPlan, *, name: str, note: Callable[[Mapping[str, str]], None]) -> None:
        """Deploy the run's model on a dedicated endpoint of that name."""
        self._serving().start(self._job(ref), plan, name=name, note=note)

    def poll_serving(self, name: str, native: Mapping[str, str]) -> ServingStatus:
        """Look at a deployment; one that has become ready gets requests."""
        return self._serving().poll(name, native)

    def stop_serving(self, name: str, native: Mapping[str, str]) -> ServingStatus:
        """Do once more what is left to do until a deployment and its endpoint are gone."""
        return self._serving().stop(name, native)

    def _serving(self) -> TogetherServing:
        return TogetherServing(self._wire().serving(), clock=self._clock, sleep=self._sleep)

    def _job(self, ref: RunRef) -> str:
        jobs = self._folder(ref).jobs()
        if not jobs:
            raise RunNotReadyError(f"run {ref} isn't known to be created, so it has no model to serve")
        return jobs[-1]

    def _folder(self, ref: RunRef) -> RunFolder:
        folder = RunFolder(ref.id)
        if folder.exists:
            return folder
        if not folder.is_key(ref.id) or not ref.native.get("job"):
            raise RunNotFoundError(f"{self.name} has no run {ref.id} on this machine, and its ref doesn't say the job's id; see `ftsdk runs`")
        # Submitted from another machine: the job's id is enough to find it at the service.
        self._wire().job(ref.native["job"])
        with folder.held(patience_s=self._timeout_s) as is_mine:
            if is_mine and not folder.exists:
                folder.adopt(ref.native)
        return folder

    def _watch(self, folder: RunFolder) -> Watch:
        return Watch(self._wire(), folder, settle_s=self._settle_s, clock=self._clock)

    def _wire(self) -> Wire:
        if self._connection is None:
            self._connection = Wire(
                key=find_key(None if self._api_key is None else self._api_key.get_secret_value()),
                base_url=self._options["base_url"],
                project_id=self._options["project_id"],
                timeout_s=self._timeout_s,
                max_retries=self._max_retries,
            )
        return self._connection

    def _submission(self, folder: RunFolder, plan: Plan, suffix: str) -> Submission:
        return Submission(
            self._wire(),
            folder,
            plan,
            suffix,
            inquiry=self._inquiry(plan, folder.path / "upload"),
            settle_s=self._settle_s,
            clock=self._clock,
            sleep=self._sleep,
        )

    def _inquiry(self, plan: Plan, drafts: Path) -> Inquiry:
        return Inquiry(self._wire(), plan, place=self._place(), drafts=drafts, poll_s=self._poll_s, clock=self._clock, sleep=self._sleep)

    def _place(self) -> str:
        """Where uploaded files live: their ids mean nothing elsewhere."""
        return f"{self._options['base_url'] or 'together'} {self._options['project_id'] or ''}"

    def _minimum(self, plan: Plan) -> Decimal:
        book = catalogue()
        return book.minimum(book.find(plan.spec.model.id), PriceBook.load()).usd
