"""Many requests to one model: each answer kept as it comes, within a budget, in the order of the requests."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any, TypeAlias, cast

from ftsdk._spend import SpendMeter
from ftsdk.data.growing.answer_log import AnswerLog, KeptAnswer, default_log_path
from ftsdk.data.growing.growth_plan import ModelCost
from ftsdk.data.growing.text_models import AnswerFunction, ChatConnection, ChatEndpoint, LocalModel, NamedModel
from ftsdk.data.token_guess import guess_tokens
from ftsdk.errors import BackendError, SpecError
from ftsdk.spec import Range

__all__ = ["Answer", "ModelCalls", "Refused", "Request"]

_LOCAL_BATCH = 16
"""Conversations that a local model answers before they are kept on disk."""
_OF_ONE_REQUEST = (400, 403, 413, 422)
"""Statuses by which a server refuses one request, such as a prompt that is too long or that its filter stops."""
_MOST_REFUSALS = 8
"""With as many and no answer, all requests are refused alike."""
_PER_MESSAGE = (3, 5, 16)
"""Tokens that the template of a chat adds to a message: few, likely and at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A conversation that is to be answered."""

    messages: tuple[dict[str, str], ...]
    max_new_tokens: int
    likely_tokens: float
    """The likely length of the answer in tokens, for estimates."""
    temperature: float | None = 0
    sample: int = 0
    """Tells apart requests that are otherwise the same."""

    def key(self, asked: str) -> str:
        """Return what its answer is kept under.

        Args:
            asked: Identifies the model.
        """
        decides = [asked, self.messages, self.max_new_tokens, self.temperature, self.sample]
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()

    def input_tokens(self) -> Range:
        """Return an estimate of the tokens of the prompt. No tokenizer makes more than the upper end."""
        texts = [message["content"] for message in self.messages]
        guesses = [guess_tokens(text) for text in texts]
        low, likely, most = (count * (len(texts) + 1) for count in _PER_MESSAGE)
        most += sum(len(text.encode("utf-8", "replace")) for text in texts)
        low += sum(guess[0] for guess in guesses)
        likely += sum(guess[1] for guess in guesses)
        return Range(low=round(min(low, most)), likely=round(min(likely, most)), high=most)


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that the server refused, alone among others."""

    reason: str


Answer: TypeAlias = KeptAnswer | Refused | None
"""None: not asked, because the budget was reached."""


class ModelCalls:
    """One model that is asked."""

    def __init__(self, model: NamedModel, meter: SpendMeter, answers: Path | None) -> None:
        """Prepare; nothing is asked yet.

        Args:
            model: What is asked.
            meter: Where its answers are paid from.
            answers: The file for its answers. None: one in the home of ftsdk; answers of functions aren't kept.
        """
        self.model = model
        self._meter = meter
        self._asked = model.identity or f"function {model.name}"
        self._path = answers or (None if model.identity is None else default_log_path(model.identity))

    def cost(self, requests: Sequence[Request], role: str = "") -> ModelCost:
        """Estimate what requests will cost; those whose answers are on disk cost nothing.

        Args:
            requests: The requests, each of which counts; `run` asks equal ones once.
            role: What the model is for, such as "judge".
        """
        known = self._known()
        kept = [known.get(request.key(self._asked)) for request in requests]
        missing = [request for request, answer in zip(requests, kept, strict=True) if answer is None]
        paid = [self._usd(request, one) for request, one in zip(requests, kept, strict=True) if one is not None]
        inputs = [request.input_tokens() for request in missing]
        outputs = [(0, request.likely_tokens, request.max_new_tokens) for request in missing]
        return ModelCost(
            role=role,
            model=self.model.described,
            is_billed=self.model.is_billed,
            requests=len(missing),
            kept=len(requests) - len(missing),
            input_tokens=_range((one.low, one.likely, one.high) for one in inputs),
            output_tokens=_range(outputs),
            price=self.model.price,
            paid_usd=sum(paid, Decimal(0)),
        )

    def run(
        self, requests: Sequence[Request], *, on_progress: Callable[[int, int], None] | None = None
    ) -> list[Answer]:
        """Answer requests, in their order.

        When one has failed for good, no more are sent, those in flight are still kept, and then the failure is raised.

        Raises:
            CredentialsError: The key was refused.
            BackendError: The server failed; the next call goes on where this one ended.
            DatasetError: Answers can't be kept, or another process is asking the same model.
            SpecError: A function returned something else than text.
        """
        if self._path is None:
            return self._run(requests, {}, None, on_progress)
        with AnswerLog(self._path) as log:
            return self._run(requests, log.read(), log, on_progress)

    def _known(self) -> dict[str, KeptAnswer]:
        return {} if self._path is None else AnswerLog(self._path).read()

    def _run(
        self,
        requests: Sequence[Request],
        known: dict[str, KeptAnswer],
        log: AnswerLog | None,
        on_progress: Callable[[int, int], None] | None,
    ) -> list[Answer]:
        keys = [request.key(self._asked) for request in requests]
        found: list[Answer] = [known.get(key) for key in keys]
        paid = {key: number for number, key in enumerate(keys) if found[number] is not None}
        for number in paid.values():
            answer = found[number]
            if isinstance(answer, KeptAnswer):
                self._meter.add(self._usd(requests[number], answer))
        # Equal requests have one answer, as they would after a call that was killed and goes on.
        alike: dict[str, list[int]] = {}
        for number, key in enumerate(keys):
            if found[number] is None:
                alike.setdefault(key, []).append(number)
        missing = [numbers[0] for numbers in alike.values()]
        done = sum(answer is not None for answer in found)

        def came(number: int, answer: KeptAnswer | Refused) -> None:
            nonlocal done
            if log is not None and isinstance(answer, KeptAnswer):
                log.append(keys[number], answer)
            for other in alike[keys[number]]:
                found[other] = answer
            done += len(alike[keys[number]])
            if on_progress is not None:
                on_progress(done, len(requests))

        if on_progress is not None:
            on_progress(done, len(requests))
        if missing:
            asked = self.model.asked
            if isinstance(asked, ChatEndpoint):
                self._ask_endpoint(asked, requests, missing, came, has_answers=done > 0)
            elif isinstance(asked, LocalModel):
                _ask_local(asked, requests, missing, came)
            else:
                _ask_function(asked, requests, missing, came)
        return found

    def _ask_endpoint(
        self,
        endpoint: ChatEndpoint,
        requests: Sequence[Request],
        missing: Sequence[int],
        came: Callable[[int, KeptAnswer | Refused], None],
        *,
        has_answers: bool,
    ) -> None:
        failures: list[BaseException] = []
        refusals: list[BackendError] = []
        remaining = iter(missing)
        lock = threading.Lock()
        is_over = threading.Event()

        def work(connection: ChatConnection) -> None:
            nonlocal has_answers
            while not is_over.is_set():
                with lock:
                    number = next(remaining, None)
                if number is None:
                    return
                request = requests[number]
                most = self._most_usd(request)
                if not self._meter.set_aside(most):
                    return
                cost = Decimal(0)
                try:
                    if is_over.is_set():  # while money was waited for
                        return
                    answer = _sent(connection, request)
                    cost = self._usd(request, answer)
                    with lock:
                        has_answers = True
                        came(number, answer)
                except BackendError as error:
                    with lock:
                        if error.status_code not in _OF_ONE_REQUEST:
                            failures.append(error)
                            is_over.set()
                            return
                        refusals.append(error)
                        if not has_answers and len(refusals) >= _MOST_REFUSALS:
                            is_over.set()
                            return
                        came(number, Refused(str(error)))
                except BaseException as error:
                    failures.append(error)
                    is_over.set()
                    raise
                finally:
                    self._meter.settle(most, cost)

        workers = min(endpoint.concurrency, len(missing))
        with endpoint.open() as connection:
            pool = ThreadPoolExecutor(workers, thread_name_prefix="ftsdk-grow")
            futures: list[Future[None]] = [pool.submit(work, connection) for _ in range(workers)]
            try:
                for _ in as_completed(futures):
                    pass
            except BaseException:  # Ctrl-C: leaving closes the connection, and with it what is in flight
                is_over.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            pool.shutdown()
        if failures:
            raise failures[0]
        if refusals and not has_answers:
            raise refusals[0]

    def _usd(self, request: Request, answer: KeptAnswer) -> Decimal:
        """Return the cost of an answer; what the server didn't count is taken at its most."""
        if self.model.price is None:
            return Decimal(0)
        given = request.input_tokens().high if answer.input_tokens is None else answer.input_tokens
        taken = request.max_new_tokens if answer.output_tokens is None else answer.output_tokens
        return self.model.price.usd(input_tokens=given, output_tokens=taken)

    def _most_usd(self, request: Request) -> Decimal:
        if self.model.price is None:
            return Decimal(0)
        return self.model.price.usd(input_tokens=request.input_tokens().high, output_tokens=request.max_new_tokens)


def _sent(connection: ChatConnection, request: Request) -> KeptAnswer:
    reply = connection.ask(request.messages, max_new_tokens=request.max_new_tokens, temperature=request.temperature)
    return KeptAnswer(
        text=reply.text,
        is_cut=reply.is_cut,
        input_tokens=reply.input_tokens,
        output_tokens=reply.output_tokens,
        on=_today(),
    )


def _ask_local(
    model: LocalModel,
    requests: Sequence[Request],
    missing: Sequence[int],
    came: Callable[[int, KeptAnswer | Refused], None],
) -> None:
    with model.open() as generator:
        for limit, group in groupby(missing, key=lambda number: requests[number].max_new_tokens):
            numbers = list(group)
            for start in range(0, len(numbers), _LOCAL_BATCH):
                batch = numbers[start : start + _LOCAL_BATCH]
                texts = generator.generate([requests[number].messages for number in batch], max_new_tokens=limit)
                for number, text in zip(batch, texts, strict=True):
                    came(number, _own_answer(text))


def _ask_function(
    function: AnswerFunction,
    requests: Sequence[Request],
    missing: Sequence[int],
    came: Callable[[int, KeptAnswer | Refused], None],
) -> None:
    for number in missing:
        text = cast("object", function(requests[number].messages))
        if not isinstance(text, str):
            raise SpecError(f"a function that answers must return text; it returned a {type(text).__name__}")
        came(number, _own_answer(text))


def _own_answer(text: str) -> KeptAnswer:
    return KeptAnswer(text=text, is_cut=False, input_tokens=None, output_tokens=None, on=_today())


def _today() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}"


def _range(parts: Any) -> Range:
    sums = [0.0, 0.0, 0.0]
    for part in parts:
        sums = [total + one for total, one in zip(sums, part, strict=True)]
    low, likely, high = map(round, sums)
    return Range(low=low, likely=likely, high=high)
