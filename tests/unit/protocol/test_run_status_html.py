"""The state of a run, in a notebook."""

from __future__ import annotations

from decimal import Decimal

from ftsdk.protocol import RunStatus


def test_a_status_shows_what_is_known_and_the_text_of_others_is_no_html() -> None:
    failed = RunStatus(
        state="failed", native="ERR", reason="<b>no memory</b>", log_tail="Traceback", price_usd=Decimal("1.5")
    )
    html = failed._repr_html_()
    for shown in ("failed", "ERR", "&lt;b&gt;no memory", "Traceback", "$1.50"):
        assert shown in html
    assert "attempts" not in html


def test_a_run_that_succeeded_shows_no_log() -> None:
    html = RunStatus(state="succeeded", native="succeeded", log_tail="saved")._repr_html_()
    assert html.count("succeeded") == 1
    assert "saved" not in html
