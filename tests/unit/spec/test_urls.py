from __future__ import annotations

import traceback

import pytest

from ftsdk import SpecError
from ftsdk.spec.urls import check_service_url


def checked(url: str, *, allow_http: bool = False) -> str:
    return check_service_url("base_url", url, key_comes_from="KEY", allow_http=allow_http)


@pytest.mark.parametrize(
    "url", ["https://host/v1", "https://host:8443", "http://127.0.0.1:80/v1", "http://[::1]:9", "http://localhost:9"]
)
def test_a_service_on_https_or_on_this_machine_passes(url: str) -> None:
    assert checked(f" {url}/ ") == url


@pytest.mark.parametrize(
    "url",
    [
        "https://u:SEKRET@host/v1",
        " https://u:SEKRET@host",
        "//u:SEKRET@host/v1",
        "h2+https://u:SEKRET@host",
        "https:/u:SEKRET@host",
        "https://host/v1?api_key=SEKRET",
        "https://host/v1#SEKRET",
        "https://SEKRET@host",
        "ftp://host/SEKRET",
        "https://host:SEKRET/v1",
        "https://[SEKRET/v1",
        "SEKRET",
        "",
    ],
)
def test_everything_else_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(SpecError, match="base_url") as found:
        checked(url)
    assert "SEKRET" not in "".join(traceback.format_exception(found.value)).replace(repr(url), "")


def test_plain_http_to_another_machine_has_to_be_asked_for() -> None:
    with pytest.raises(SpecError, match="allow_http=True"):
        checked("http://10.0.0.1/v1")
    assert checked("http://10.0.0.1/v1", allow_http=True) == "http://10.0.0.1/v1"
