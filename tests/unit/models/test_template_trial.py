"""A chat template that loops or allocates is refused, in a process of its own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ftsdk.errors import ModelError
from ftsdk.models import limits, template_trial
from ftsdk.models.chat_template import Conversation

pytest.importorskip("jinja2", reason="the extra 'local' isn't installed")


@pytest.mark.parametrize(
    ("template", "words"),
    [
        pytest.param(
            "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}x",
            "seconds|signal",
            marks=pytest.mark.slow,  # a job's own test of such a template always runs
        ),
        ("{{ 'a' * 6000000000 }}", "memory"),
        ("{% set ns = namespace(t='a') %}{% for i in range(60) %}{% set ns.t = ns.t ~ ns.t %}{% endfor %}", "memory"),
    ],
)
def test_a_template_without_end_is_refused(template: str, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        template_trial.check_template(template)


@pytest.mark.parametrize("template", ["plain", "{{ 1/0 }}", "{% nonsense %}", "{{ messages[0].content }}"])
def test_a_template_within_its_limits_passes_whatever_it_says(template: str) -> None:
    template_trial.check_template(template)


CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if loop is defined and loop.index0 % 2 %}{% endif %}"
)


def rows(count: int, word: str = "fine") -> list[Conversation]:
    return [Conversation([{"role": "user", "content": f"{word} {n}"}]) for n in range(count)]


@pytest.mark.parametrize(
    "step",
    [
        "9 ** (9 ** (8 + messages|length))",
        "'a' * 6000000000",
        "'%2000000000d' % 1",
        "'a'.center(9999999999)",
    ],
)
def test_a_step_that_cannot_be_interrupted_is_found_in_the_one_row_that_has_it(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = replace(limits.TEMPLATE_LIMITS, trial_s=0.5)
    monkeypatch.setattr(template_trial, "TEMPLATE_LIMITS", quick)
    template = "{% if 'bad' in messages[0].content %}{{ " + step + " }}{% endif %}"
    trial = template_trial.RowTrial(template, {})
    trial.check(rows(3))
    with pytest.raises(ModelError, match="chat template takes more than"):
        trial.check([*rows(3), *rows(1, "bad")])


def test_a_text_that_doubles_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    template = (
        "{% set ns = namespace(t='a') %}{% for m in messages %}{% for c in m.content %}{% set ns.t = ns.t ~ ns.t %}"
        "{% endfor %}{% endfor %}"
    )
    trial = template_trial.RowTrial(template, {})
    with pytest.raises(ModelError, match="chat template takes more than"):
        trial.check(rows(1, "b" * 60))


def test_a_usual_template_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_given: object, **_options: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(template_trial.subprocess, "run", refused)
    template_trial.RowTrial(CHATML, {}).check(rows(3))


@pytest.mark.parametrize(
    "template", ["{{ 2 ** messages|length }}", "{{ raise_exception('no') }}", "{{ 2 ** nothing }}"]
)
def test_a_heavy_template_within_its_limits_passes(template: str) -> None:
    template_trial.RowTrial(template, {"bos_token": "<s>"}).check(rows(3))
