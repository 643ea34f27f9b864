"""A chat template that loops or allocates is refused, in a process of its own."""

from __future__ import annotations

import pytest

from ftsdk.data import template_trial
from ftsdk.errors import ModelError

pytest.importorskip("jinja2", reason="the extra 'local' isn't installed")


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}x", "seconds|signal"),
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
