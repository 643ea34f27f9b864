"""`backend="together"`: the same job on Together's managed fine-tuning."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import SecretStr

from ftsdk._format import money
from ftsdk.backends.managed.backend import ManagedBackend
from ftsdk.backends.together.billing import billing_of
from ftsdk.backends.together.catalogue import catalogue
from ftsdk.backends.together.client import Wire, clean_base_url, find_key
from ftsdk.backends.together.jobs import WEIGHTS, TogetherJobs, Weights
from ftsdk.backends.together.preflight import Preflight
from ftsdk.backends.together.serving import TogetherServing
from ftsdk.backends.together.translate import CAPABILITIES, choose_model, translate
from ftsdk.cost.pricebook.book import PriceBook
from ftsdk.errors import BudgetExceededError, Gap, SpecError, UnsupportedSpecError
from ftsdk.protocol import Plan, RunRef, Workload, find_gaps, refuse
from ftsdk.protocol.estimates import Quote
from ftsdk.protocol.serving import ServingOffer, ServingPlan, ServingStatus
from ftsdk.spec.amounts import check_amount
from ftsdk.spec.positional import by_name_only
from ftsdk.trackers import Tracker, TrackerRequest

__all__ = ["Together"]


@by_name_only
class Together(ManagedBackend[TogetherJobs]):
    """Together's managed fine-tuning. Nothing is sent before `submit`, and `options` never holds the key.

    Args:
        base_url: The service's URL; None: Together's own, or TOGETHER_BASE_URL. A trailing `/v1` is removed.
        project_id: The project; None: the key's own, or TOGETHER_PROJECT_ID.
        models: Overrides of the catalogue: hub id to the service's name.
        timeout_s: Seconds to wait for a response.
        max_retries: Retries of a failed request. The request that creates a job is never retried.
        poll_s: The least seconds between two requests about the same run or file.
        weights: What `collect` downloads of a LoRA job: `"adapter"`, or `"merged"`, the whole model with the adapter
            merged in.
        settle_s: Seconds after which a job whose creation got no answer is listed by the service, if it exists.
        allow_http: Accept a `base_url` that sends the key unencrypted to another machine.
        api_key: The key; None: TOGETHER_API_KEY, which is also what another process that opens the run uses.
        clock: Returns seconds since the epoch.
        sleep: Waits for some seconds.
        trackers: Where events are sent in addition to the run's local history, as for `Local`, while a process follows
            the run: `run.wait()` or `ftsdk watch`. What came without one is sent when it is followed again.

    Raises:
        SpecError: `base_url` holds a password or is plain http to another machine, a number is out of range, or
            `weights` is unknown.
    """

    name = "together"
    capabilities = CAPABILITIES

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
        weights: Weights = "adapter",
        allow_http: bool = False,
        api_key: SecretStr | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        trackers: Sequence[TrackerRequest | Tracker] = (),
    ) -> None:
        check_amount("timeout_s", timeout_s, above=0, at_most=86_400)
        check_amount("poll_s", poll_s, at_least=0, at_most=86_400)
        # Below it, a job whose creation got no answer could be created, and paid for, twice.
        check_amount("settle_s", settle_s, at_least=0, at_most=86_400)
        check_amount("max_retries", max_retries, at_least=0, at_most=100)
        super().__init__(
            lock_s=timeout_s, poll_s=poll_s, settle_s=settle_s, clock=clock, sleep=sleep, trackers=trackers
        )
        if weights not in WEIGHTS:
            raise SpecError(f"weights must be one of {', '.join(WEIGHTS)}; got {weights!r}")
        self._base_url, self._project_id = clean_base_url(base_url, allow_http=allow_http), project_id
        options = {
            "base_url": (self._base_url, None),
            "project_id": (project_id, None),
            "allow_http": (allow_http, False),
            "models": (dict(models) if models else None, None),
            "weights": (weights, "adapter"),
            "timeout_s": (timeout_s, 60.0),
            "max_retries": (max_retries, 2),
            "poll_s": (poll_s, 2.0),
            "settle_s": (settle_s, 300.0),
            "trackers": (list(self._trackers), []),
        }
        self.options = {name: given for name, (given, default) in options.items() if given != default}
        self._models = dict(models or {})
        self._timeout_s, self._max_retries = timeout_s, max_retries
        self._weights: Weights = weights
        self._api_key = api_key

    def check_access(self, *, timeout_s: float) -> str:
        """List the jobs, once and without retries. Changes nothing.

        Raises:
            FtsdkError: The key is missing or was refused, or the service doesn't answer.
        """
        count = len(self._wire(timeout_s=timeout_s, max_retries=0).jobs())
        return f"accepts the key; {count} fine-tuning job{'s' if count != 1 else ''} there"

    def plan(self, spec: Any) -> Plan:
        """Plan the job offline.

        Raises:
            UnsupportedSpecError: A field that was set can't be honoured, or the service doesn't tune this model.
            BudgetExceededError: `budget_usd` is below the service's minimum per job.
        """
        refuse(self.name, find_gaps(spec, self.capabilities))
        book = catalogue()
        choice = choose_model(spec, book, self._models)
        if isinstance(choice, Gap):
            raise UnsupportedSpecError(self.name, [choice])
        planned = translate(spec, choice, book)
        refuse(self.name, list(planned.gaps))
        prices = PriceBook.load()
        minimum = book.minimum(choice.known, prices)
        if spec.budget_usd is not None and spec.budget_usd < minimum.usd:
            raise BudgetExceededError(
                f"a job on {spec.model.id} costs at least {money(minimum.usd, places=2)} at Together "
                f"({minimum.cited}), more than "
                f"budget_usd={spec.budget_usd}. Raise the budget, or train on another backend."
            )
        max_length = spec.max_length or next((a.chosen for a in planned.adjustments if a.field == "max_length"), None)
        return Plan(
            backend=self.name,
            spec=spec,
            request=planned.request,
            adjustments=planned.adjustments,
            workload=Workload.of(spec, max_length=max_length),
            billing=billing_of(
                spec, choice.known, planned.request["create"], max_length=max_length, minimum=minimum, book=prices
            ),
            notes=planned.notes,
        )

    def quote(self, plan: Plan) -> Quote:
        """Upload the data, unless they are there already, and return the service's price for the job.

        Creates and spends nothing. A price over the budget or over the account's limit is returned too, with a note.

        Raises:
            UnsupportedSpecError: The service's own limits don't allow it; nothing was uploaded.
            DatasetError: The service refused the data.
            BudgetExceededError: The account can't pay for anything (402).
            BackendError: The service refused, has no price, or didn't answer.
        """
        return self._ask_price(plan)

    def serving_offers(self, ref: RunRef) -> Sequence[ServingOffer]:
        """List the hardware that can serve the run's model, with the service's prices.

        Empty if it can't be deployed.
        """
        return self._serving().offers(self._job_id(ref))

    def start_serving(
        self, ref: RunRef, plan: ServingPlan, *, name: str, note: Callable[[Mapping[str, str]], None]
    ) -> None:
        """Deploy the run's model on a dedicated endpoint of that name."""
        self._serving().start(self._job_id(ref), plan, name=name, note=note)

    def poll_serving(self, name: str, native: Mapping[str, str]) -> ServingStatus:
        """Return the state of a deployment. Once it is ready, requests are routed to it."""
        return self._serving().poll(name, native)

    def stop_serving(self, name: str, native: Mapping[str, str]) -> ServingStatus:
        """Take the next steps to delete a deployment and its endpoint. Call it until both are gone."""
        return self._serving().stop(name, native)

    def _serving(self) -> TogetherServing:
        return TogetherServing(self._service().wire.serving(), clock=self._clock, sleep=self._sleep)

    def _model_of(self, plan: Plan) -> str:
        return plan.request["create"]["model"]

    def _wire(self, *, timeout_s: float, max_retries: int) -> Wire:
        return Wire(
            key=find_key(None if self._api_key is None else self._api_key.get_secret_value()),
            base_url=self._base_url,
            project_id=self._project_id,
            timeout_s=timeout_s,
            max_retries=max_retries,
        )

    def _connect(self) -> TogetherJobs:
        wire = self._wire(timeout_s=self._timeout_s, max_retries=self._max_retries)
        account = f"{self._base_url or 'together'} {self._project_id or ''}"
        preflight = Preflight(wire, account=account, poll_s=self._poll_s, clock=self._clock, sleep=self._sleep)
        return TogetherJobs(wire, preflight, weights=self._weights, clock=self._clock)
