"""New rows by a model: the real client against a service on loopback, its faults, and calls that are killed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from chat_script import CHAT, MODEL, MakeEndpoint, Script, numbered

from ftsdk import BackendError, BudgetExceededError, CredentialsError, Dataset, DatasetError, SpecError
from ftsdk.data import Store
from ftsdk.data.growing.growth_prompts import read_growth
from ftsdk.evals import FunctionTarget
from ftsdk.testing.together import TogetherService

WORDS = [
    "amber", "basil", "cedar", "delta", "ember", "fjord", "grove", "hazel",
    "ivory", "jade", "kelp", "lotus", "maple", "north", "opal", "pearl",
]  # fmt: skip


def rewritten(asked: str) -> str:
    """Three messages, unlike each other and the one that was asked about."""
    number = int(re.search(r"parcel number (\d+)", asked)[1])  # type: ignore[index]
    words = [WORDS[(number * 3 + turn * 5) % 16] + WORDS[(number + turn * 7) % 16] for turn in range(6)]
    return json.dumps([" ".join(words[turn : turn + 4]) + f" {number}-{turn}?" for turn in range(3)])


def asked(dataset: Dataset) -> list[str]:
    return [row["messages"][0]["content"] for row in dataset]


def quiet(plan: object) -> None:
    pass


def test_new_rows_follow_the_old_and_keep_the_answer(
    service: TogetherService, script: Script, make_endpoint: MakeEndpoint
) -> None:
    script.reply = rewritten
    rows = numbered(6)
    lines: list[str] = []
    found = rows.augment(make_endpoint(), per_row=3, on_plan=lambda plan: lines.append(str(plan)))
    assert asked(found)[:6] == asked(rows)
    assert len(found) == 6 + 6 * 3 - len(found.removed)
    for position, origin in found.provenance.items():
        assert found[position]["messages"][-1] == rows[origin.seeds[0]]["messages"][-1]
        assert (origin.model, origin.endpoint) == (MODEL, f"{service.base_url}/v1")
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", origin.on)
    assert sorted(found.provenance) == list(range(6, len(found)))
    assert all(set(row) == {"messages"} for row in found)
    assert re.search(r"6 requests to .* at http://127.*about \$0\.00.*a price list.*no budget", lines[0])
    assert all(request.status == 200 for request in service.requests)


def test_the_cost_line_goes_to_standard_error_before_anything_is_asked(
    script: Script, make_endpoint: MakeEndpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    script.reply = rewritten
    numbered(2).augment(make_endpoint(price=None))
    assert "cost unknown: Endpoint(price=TokenPrice(...))" in capsys.readouterr().err

    def stop(plan: object) -> None:
        raise KeyboardInterrupt

    before = len(script.asked)
    with pytest.raises(KeyboardInterrupt):
        numbered(9).augment(make_endpoint(), on_plan=stop)
    assert len(script.asked) == before


def test_the_same_call_again_asks_nothing_and_another_seed_does(script: Script, make_endpoint: MakeEndpoint) -> None:
    script.reply = rewritten
    first = numbered(5).augment(make_endpoint(), on_plan=quiet)
    assert len(script.asked) == 5
    again = numbered(5).augment(make_endpoint(), on_plan=quiet)
    assert (len(script.asked), again.fingerprint) == (5, first.fingerprint)
    numbered(5).augment(make_endpoint(), seed=1, on_plan=quiet)
    assert len(script.asked) == 10


@pytest.mark.parametrize("fault", ["429", "500", "503", "truncated", "closed", "garbage"])
def test_a_fault_costs_no_answer_that_came_before(
    fault: str, service: TogetherService, script: Script, make_endpoint: MakeEndpoint
) -> None:
    script.reply = rewritten
    endpoint = make_endpoint(attempts=1, concurrency=1)
    with service.failing(fault, on=CHAT, skip=3), pytest.raises(BackendError):  # type: ignore[arg-type]
        numbered(8).augment(endpoint, on_plan=quiet)
    before = len(script.asked)
    found = numbered(8).augment(endpoint, on_plan=quiet)
    assert len(script.asked) - before == 5
    assert len(found.provenance) + len(found.removed) == 8 * 3


def test_a_busy_server_is_asked_again(service: TogetherService, script: Script, make_endpoint: MakeEndpoint) -> None:
    script.reply = rewritten
    # All three faults may meet one request.
    with service.failing("429", on=CHAT, times=2, retry_after_s=0), service.failing("truncated", on=CHAT, times=1):
        found = numbered(4).augment(make_endpoint(attempts=4), on_plan=quiet)
    assert len(found.provenance) + len(found.removed) == 4 * 3


def test_a_refused_key_ends_the_call(service: TogetherService, make_endpoint: MakeEndpoint) -> None:
    with service.failing("401", on=CHAT), pytest.raises(CredentialsError, match="TEACHER_KEY") as caught:
        numbered(20).augment(make_endpoint(), on_plan=quiet)
    assert service.key not in str(caught.value)


def test_one_refused_request_is_kept_with_its_reason_and_all_of_them_are_an_error(
    service: TogetherService, script: Script, make_endpoint: MakeEndpoint
) -> None:
    script.reply = rewritten
    with service.failing("400", on=CHAT, skip=2, times=1):
        found = numbered(6).augment(make_endpoint(), on_plan=quiet)
    assert [row.reason for row in found.removed if "not answered" in row.reason and "HTTP 400" in row.reason]
    with service.failing("400", on=CHAT), pytest.raises(BackendError, match="HTTP 400"):
        numbered(30).augment(make_endpoint(), seed=3, on_plan=quiet)


def test_the_budget_holds_for_every_answer(script: Script, make_endpoint: MakeEndpoint) -> None:
    script.reply = rewritten
    plans: list[Any] = []
    numbered(40).augment(make_endpoint(), per_row=3, on_plan=plans.append)
    likely, _ = plans[0].parts[0].usd()
    with pytest.raises(BudgetExceededError, match=r"nothing was asked"):
        numbered(40).augment(make_endpoint(), per_row=3, seed=1, budget_usd=likely / 2, on_plan=quiet)
    assert len(script.asked) == 40
    budget = likely * Decimal("1.05")
    found = numbered(40).augment(make_endpoint(), per_row=3, seed=1, budget_usd=budget, on_plan=quiet)
    step = found.steps[-1].augment
    assert step is not None
    assert step.usd is not None
    assert 0 < step.usd <= budget
    with pytest.raises(SpecError, match=r"price of .* isn't known"):
        numbered(4).augment(make_endpoint(price=None), budget_usd=1, on_plan=quiet)


def test_a_budget_that_is_reached_stops_and_a_higher_one_goes_on(script: Script, make_endpoint: MakeEndpoint) -> None:
    script.reply = lambda question: rewritten(question)[:-1] + ', "' + "long " * 200 + '"]'  # longer than was likely
    plans: list[Any] = []
    found = numbered(40).augment(
        make_endpoint(concurrency=1), per_row=1, budget_usd=Decimal("0.03"), on_plan=plans.append
    )
    step = found.steps[-1].augment
    assert step is not None
    assert step.stopped is not None
    assert "weren't asked" in step.stopped
    assert step.usd is not None
    assert step.usd <= Decimal("0.03")
    answered = len(script.asked)
    assert answered < 40
    numbered(40).augment(make_endpoint(), per_row=1, budget_usd=1, on_plan=quiet)
    assert len(script.asked) == 40


def test_the_gates_keep_every_refused_row_with_its_reason(script: Script, make_endpoint: MakeEndpoint) -> None:
    replies = {
        0: '["Where is my parcel number 0?"]',
        1: '["  "]',
        2: "no JSON here",
        3: '["Where is my parcel number 3, please?"]',
        4: '["A wholly different wish about the delivery"]',
        5: '["A wholly different wish about the delivery", "one too many"]',
        6: "[7]",
        7: '["Forbidden words about a shipment that is late"]',
        8: "word " * 9000,
        9: '```json\n["Has anybody seen what I ordered last week"]\n```',
        10: '{"messages": ["Tell me the whereabouts of order ten"]}',
        11: '["\\ud83d broken"]',
    }
    script.reply = lambda question: replies[int(re.search(r"parcel number (\d+)", question)[1])]  # type: ignore[index]

    def check(row: dict[str, Any]) -> str | None:
        return "forbidden" if "Forbidden" in row["messages"][0]["content"] else None

    found = numbered(12).augment(make_endpoint(), check=check, on_plan=quiet)
    reasons = sorted(row.reason for row in found.removed)
    for part in (
        "repeats a prompt of the rows", "empty", "isn't a JSON array", "almost the same as a prompt",
        "repeats another new prompt", "more than the 1 that were asked for", "neither text nor an object",
        "check: forbidden", "cut off at", "surrogate",
    ):  # fmt: skip
        assert any(part in reason for reason in reasons), (part, reasons)
    assert len(found) == 12 + 3


@pytest.mark.parametrize(
    ("answer", "prompts"),
    [
        ('["a", "b"]', ["a", "b"]),
        ('Here are [2] rewrites [as asked]:\n```json\n["a"]\n```\nDone.', ["a"]),
        ('<think>perhaps ["no"]</think>["yes"]', ["yes"]),
        ('{"rows": [{"prompt": "a", "completion": "b"}]}', ["a"]),
        ('{"prompt": "a", "completion": "b"}', ["a"]),
        ('{"prompt": "a"}', ["a"]),
        ('["a", "b', None),
        ('[{"prompt": "a"}, {"prom', None),
        ("[" * 100_000, None),
        ("[]", None),
        ("", None),
        ('[["a"]]', None),
    ],
)
def test_an_answer_is_read_whole_or_not_at_all(answer: str, prompts: list[str] | None) -> None:
    if prompts is None:
        with pytest.raises(ValueError, match="the answer"):
            read_growth(answer)
    else:
        assert [drawn.prompt for drawn in read_growth(answer)] == prompts


def test_rare_classes_are_filled_up_with_their_own_label(script: Script, make_endpoint: MakeEndpoint) -> None:
    def reply(question: str) -> str:
        label = re.search(r"class (\w+)\.", question)[1]  # type: ignore[index]
        return json.dumps([f"{label} {WORDS[n]} {WORDS[-n]} {len(script.asked)}" for n in range(10)])

    script.reply = reply
    labels = ["often"] * 12 + ["usual"] * 12 + ["seldom"] * 3
    rows = Dataset.from_rows(
        [{"prompt": f"{WORDS[n % 16]} {n} {WORDS[n % 7]}", "completion": label} for n, label in enumerate(labels)]
    )
    found = rows.augment(make_endpoint(), how="rare_classes", max_similarity=0.95, on_plan=quiet)
    new = [found[position]["messages"][-1]["content"] for position in found.provenance]
    assert new == ["seldom"] * 9
    assert all(len(origin.seeds) == 3 for origin in found.provenance.values())
    with pytest.raises(DatasetError, match="no class is rare"):
        rows.augment(make_endpoint(), how="rare_classes", per_class=2, on_plan=quiet)


def test_an_instruction_of_one_s_own_may_answer_only_with_known_labels(
    script: Script, make_endpoint: MakeEndpoint
) -> None:
    script.reply = lambda question: json.dumps(
        [
            {"prompt": f"something new {len(question)} {WORDS[len(script.asked) % 16]}", "completion": label}
            for label in ("yes", "maybe")
        ]
    )
    rows = Dataset.from_rows(
        [{"prompt": f"{word} {{n}} braces", "completion": "yes" if n % 2 else "no"} for n, word in enumerate(WORDS)]
    )
    found = rows.augment(
        make_endpoint(), how="Write {n} like {prompt}, answered {completion}", per_row=2, rows=4, on_plan=quiet
    )
    assert any("none of the labels" in row.reason for row in found.removed)
    assert len(script.asked) == 2
    assert all(re.match(r"Write 2 like [a-z]+ \{n\} braces, answered (yes|no)\n", text) for text in script.asked)
    with pytest.raises(DatasetError, match="no row in it"):
        rows.augment(make_endpoint(), how="Write something", on_plan=quiet)


def test_provenance_stays_with_rows_and_out_of_the_text(
    script: Script, make_endpoint: MakeEndpoint, tmp_path: Path
) -> None:
    script.reply = rewritten
    found = numbered(8).augment(make_endpoint(), on_plan=quiet)
    new = len(found.provenance)
    assert new
    kept = found.filter(lambda row: "parcel number" not in row["messages"][0]["content"])
    assert sorted(kept.provenance) == list(range(new))
    halves = (found + numbered(3)).split(test=0.5)
    assert len(halves.train.provenance) + len(halves.test.provenance) == new
    assert found.clean().provenance.keys() == found.provenance.keys()
    recipe = found.to_dict()
    Store().put(found)
    opened = Dataset.from_dict(recipe)
    assert opened.fingerprint == found.fingerprint
    assert opened.provenance == found.provenance
    card = found.card()
    assert "## Rows made by models" in card
    assert MODEL in card
    lineage = found.ref().lineage
    assert lineage is not None
    assert "made" not in json.dumps(lineage)
    assert "Rewrite the message" in json.dumps(lineage)
    text = found.to_jsonl(tmp_path / "rows.jsonl").read_text()
    assert "http" not in text
    with pytest.raises(DatasetError, match=r"undo augment"):
        found.as_chat(prompt="{prompt}", completion="{completion}")


def test_an_endpoint_in_a_url_has_no_secret_in_the_record(script: Script, make_endpoint: MakeEndpoint) -> None:
    script.reply = rewritten
    found = numbered(3).augment(make_endpoint(), on_plan=quiet)
    assert "tk-loopback" not in json.dumps(found.lineage)


def test_a_function_is_a_model_too_and_its_answers_are_kept_on_request(tmp_path: Path) -> None:
    calls: list[int] = []

    def teacher(messages: Any) -> str:
        calls.append(1)
        return rewritten(messages[-1]["content"])

    numbered(3).augment(teacher, on_plan=quiet)
    numbered(3).augment(teacher, answers=tmp_path / "answers.jsonl", on_plan=quiet)
    numbered(3).augment(teacher, answers=tmp_path / "answers.jsonl", on_plan=quiet)
    assert len(calls) == 6
    with pytest.raises(SpecError, match="must return text"):
        numbered(3).augment(lambda messages: 7, on_plan=quiet)  # type: ignore[arg-type, return-value]
    with pytest.raises(SpecError, match="can't be asked for text"):
        numbered(3).augment("gpt", on_plan=quiet)  # type: ignore[arg-type]


def test_a_model_to_evaluate_can_be_asked_too_and_is_asked_once(make_endpoint: MakeEndpoint, script: Script) -> None:
    calls: list[int] = []

    def teacher(messages: Any) -> str:
        calls.append(1)
        return rewritten(messages[-1]["content"])

    target = FunctionTarget(name="rules", function=teacher, revision="1")
    first = numbered(20).augment(target, on_plan=quiet)
    assert numbered(20).augment(target, on_plan=quiet).fingerprint == first.fingerprint
    assert len(calls) == 20
    script.reply = rewritten
    metered = numbered(2).augment(make_endpoint().target(), on_plan=quiet).steps[-1].augment
    assert metered is not None
    assert metered.usd  # the endpoint's own price counts


def test_rows_that_are_a_table_are_refused(make_endpoint: MakeEndpoint) -> None:
    with pytest.raises(DatasetError, match="as_chat"):
        Dataset.from_rows([{"x": "a"}]).augment(make_endpoint())


KILLED = """
import signal, sys, chat_script
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests in the background ignores it
from ftsdk import Endpoint, TokenPrice
price = TokenPrice(input_usd_per_mtok=1, output_usd_per_mtok=10, source="a price list")
endpoint = Endpoint(url=sys.argv[1], model=chat_script.MODEL, api_key_env="TEACHER_KEY", price=price, concurrency=1)
chat_script.numbered(30).augment(endpoint)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_call_goes_on_and_pays_for_no_answer_twice(
    how: signal.Signals, service: TogetherService, script: Script, make_endpoint: MakeEndpoint
) -> None:
    killed = threading.Event()

    def slow(question: str) -> str:
        if len(script.asked) >= 6:
            killed.wait(60)
        return rewritten(question)

    script.reply = slow
    path = os.pathsep.join(sys.path)
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, f"{service.base_url}/v1"], env={**os.environ, "PYTHONPATH": path}
    )
    try:
        while len(script.asked) < 6 and child.poll() is None:
            time.sleep(0.01)
        child.send_signal(how)
        child.wait(timeout=60)
    finally:
        child.kill()
        child.wait()
        killed.set()
    killed_at = len(script.asked)
    assert 6 <= killed_at < 30
    numbered(30).augment(make_endpoint(concurrency=1), on_plan=quiet)
    twice = len(script.asked) - len(set(script.asked))
    assert twice <= 1  # the one whose answer never arrived
    assert len(set(script.asked)) == 30


def test_another_process_with_the_same_file_is_refused(
    script: Script, make_endpoint: MakeEndpoint, tmp_path: Path
) -> None:
    from ftsdk.data.growing.answer_log import AnswerLog

    script.reply = rewritten
    with AnswerLog(tmp_path / "a.jsonl"), pytest.raises(DatasetError, match="another process"):
        numbered(2).augment(make_endpoint(), answers=tmp_path / "a.jsonl", on_plan=quiet)
    with pytest.raises(DatasetError, match="answers can't be kept"):
        numbered(2).augment(make_endpoint(), answers=Path("/proc/none/a.jsonl"), on_plan=quiet)


def test_lines_of_the_answer_file_that_are_broken_are_asked_again(
    script: Script, make_endpoint: MakeEndpoint, tmp_path: Path
) -> None:
    script.reply = rewritten
    file = tmp_path / "a.jsonl"
    numbered(4).augment(make_endpoint(), answers=file, on_plan=quiet)
    lines = [line for line in file.read_text().splitlines() if line]
    file.write_text("\n".join([lines[0], lines[1][:40], "[" * 100_000, '{"key": 1}', lines[2]]))
    numbered(4).augment(make_endpoint(), answers=file, on_plan=quiet)
    assert len(script.asked) == 6
    assert file.stat().st_mode & 0o077 == 0 or os.name == "nt"


def test_equal_rows_are_asked_for_different_answers_once_each(script: Script, make_endpoint: MakeEndpoint) -> None:
    replies = iter(range(100))
    script.reply = lambda question: json.dumps([f"{WORDS[next(replies)]} {WORDS[next(replies)]} please"])
    rows = numbered(1) + numbered(1) + numbered(1)
    first = rows.augment(make_endpoint(concurrency=1), per_row=1, on_plan=quiet)
    again = rows.augment(make_endpoint(concurrency=1), per_row=1, on_plan=quiet)
    assert (len(script.asked), len(first)) == (3, 6)
    assert asked(again) == asked(first)
