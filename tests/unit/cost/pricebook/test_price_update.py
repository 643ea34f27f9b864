"""Prices from feeds: read within limits, shown as a diff, appended on request, never overwritten."""

from __future__ import annotations

import io
import json
import re
import threading
import time
import zipfile
from collections.abc import Generator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prices import TODAY
from typer.testing import CliRunner

from ftsdk.cli.app import app
from ftsdk.cost import PriceBook, api_price
from ftsdk.cost.pricebook import feed_source
from ftsdk.cost.pricebook.feed_source import FeedBytes, read_feed_bytes, read_named_feed
from ftsdk.cost.pricebook.feeds import Feed, parse_feed
from ftsdk.cost.pricebook.price_update import compare_feed, write_update
from ftsdk.errors import FtsdkError, SpecError

BOOK = PriceBook.load(today=TODAY)
HEAD = "instance_name,location,price,cpu,memory,gpu_count,gpu_name,gpu_memory,spot,disk_size,gpu_vendor\n"


def litellm(**models: Any) -> str:
    return json.dumps(
        {name: {"mode": "chat", "litellm_provider": "openai", **fields} for name, fields in models.items()}
    )


LUNA = {
    "gpt-6-luna": {
        "input_cost_per_token": 1e-7,
        "output_cost_per_token": 3e-7,
        "cache_read_input_token_cost": 1e-8,
        "input_cost_per_token_above_272k_tokens": 2e-7,
        "cache_read_input_token_cost_above_272k_tokens": 2e-8,
    }
}
GENAI = [
    {
        "id": "openai",
        "models": [
            {"id": "free", "prices": {"input_mtok": 0, "output_mtok": 0}},
            {
                "id": "gpt-4o",
                "prices": [
                    {"prices": {"input_mtok": 2.5, "output_mtok": 10, "cache_read_mtok": 1.25}},
                    {"constraint": {"start_date": "2026-11-01"}, "prices": {"input_mtok": 2, "output_mtok": 10}},
                    {"constraint": {"start_date": "2099-01-01"}, "prices": {"input_mtok": 1, "output_mtok": 1}},
                ],
                "price_variants": [{"when": {"processing": "batch"}, "prices": {"input_mtok": 1, "output_mtok": 5}}],
            },
        ],
    }
]


def feed(content: str | bytes, name: str = "feed.json") -> Feed:
    return parse_feed(FeedBytes(content.encode() if isinstance(content, str) else content, name, name), as_of=TODAY)


def test_a_changed_price_is_appended_with_the_rest_of_its_model(tmp_path: Path) -> None:
    pytest.importorskip("genai_prices", reason="the extra 'cost' isn't installed")
    found = compare_feed(feed(litellm(**LUNA)), BOOK)
    assert [(change.kind, change.price.sku, change.before) for change in found.changes] == [
        ("changed", "api/gpt-6-luna/output", Decimal("0.5"))
    ]
    file = tmp_path / "prices.yaml"
    write_update(found, file, book=BOOK)
    book = PriceBook.load(user=file, today=TODAY)
    price = api_price("openai/gpt-6-luna", book=book)
    assert (price.input_usd_per_mtok, price.output_usd_per_mtok) == (Decimal("0.1"), Decimal("0.3"))
    assert (price.source, price.as_of, price.layer) == ("feed.json", TODAY, "user")
    assert price.tiers[0].input_usd_per_mtok == Decimal("0.2")
    assert compare_feed(feed(litellm(**LUNA)), book).changes == ()


def test_what_is_in_the_file_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text(
        "# mine\nprices:\n  - {provider: a, sku: b, unit: usd_per_job, usd: 1, source: s, as_of: 2026-01-01}\n"
    )
    before = file.read_text()
    write_update(compare_feed(feed(litellm(**LUNA)), BOOK), file, book=BOOK)
    assert file.read_text().startswith(before)


def test_the_price_in_force_is_taken_from_genai_prices_json() -> None:
    found = {price.sku: price for price in feed(json.dumps(GENAI)).prices}
    assert (found["api/gpt-4o/input"].usd, found["api/gpt-4o/input"].usd_batch) == (2, 1)
    assert "api/gpt-4o/cached_input" not in found
    assert feed(json.dumps(GENAI)).free == 2


def test_models_that_a_feed_lacks_are_gone() -> None:
    pytest.importorskip("genai_prices", reason="the extra 'cost' isn't installed")
    gone = compare_feed(feed(json.dumps(GENAI)), BOOK).gone
    assert "api/gpt-6-luna" in [one.sku for one in gone]
    assert "api/gpt-4o" not in [one.sku for one in gone]


def test_a_catalogue_of_gpus_updates_the_book_s_own_skus() -> None:
    rows = "g6.xlarge,us-east-1,0.9,4,16,1,L4,24,False,,nvidia\ng6.xlarge,eu-west-1,1.1,4,16,1,L4,24,False,,nvidia\n"
    (change,) = compare_feed(feed(HEAD + rows, "aws.csv"), BOOK).of("changed")
    assert change.price.sku == "ec2/us-east-1/g6.xlarge"
    assert (change.before, change.price.usd_min) == (Decimal("0.8048"), Decimal("0.9"))
    near = rows.replace("0.9", "0.8")
    assert [one.gpu for one in compare_feed(feed(HEAD + near, "aws.csv"), BOOK).same] == ["L4"]


def test_a_catalogue_s_price_is_written_in_the_unit_of_the_book() -> None:
    row = "NVIDIA L4,EU,1.2,4,16,2,L4,24,False,,nvidia\nNVIDIA L4,EU,0.6,4,16,1,L4,24,False,,nvidia\n"
    found = compare_feed(feed(HEAD + row, "runpod.csv"), BOOK)
    assert [(c.kind, c.price.sku, c.price.unit) for c in found.changes] == [
        ("new", "on-demand/NVIDIA-L4/2xL4", "usd_per_instance_hour"),
        ("changed", "pod-secure/L4", "usd_per_gpu_hour"),
    ]


def test_a_zip_has_a_catalogue_for_each_provider() -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("lambdalabs.csv", HEAD + "gpu_1x_h100,us,4.5,26,200,1,H100,80,False,,nvidia\n")
        archive.writestr("readme.txt", "no prices")
    assert [(price.provider, price.gpu) for price in feed(content.getvalue(), "catalog.zip").prices] == [
        ("lambda", "H100")
    ]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"input_cost_per_token": 2.5, "output_cost_per_token": 1e-5}, "usual range"),
        ({"input_cost_per_token": 1e-5, "output_cost_per_token": 1e-4}, "more than a factor of 5"),
        ({"input_cost_per_token": 1e-7}, "no price for output"),
        ({"input_cost_per_token": 1e-7, "output_cost_per_token": -1}, "no price for output"),
        (
            {"input_cost_per_token": 1e-7, "output_cost_per_token": 6e-7, "cache_read_input_token_cost": 2e-7},
            "cached input costs more",
        ),
    ],
)
def test_what_looks_wrong_is_suspicious_and_not_written(fields: dict[str, Any], why: str, tmp_path: Path) -> None:
    pytest.importorskip("genai_prices", reason="the extra 'cost' isn't installed")
    found = compare_feed(feed(litellm(**{"gpt-6-luna": fields})), BOOK)
    assert why in " ".join(change.why for change in found.of("suspicious"))
    assert not found.of("changed")
    assert not found.of("new")
    assert write_update(found, tmp_path / "p.yaml", book=BOOK) == ()
    assert not (tmp_path / "p.yaml").exists()


BAD_NUMBERS = ["-1", "NaN", "Infinity", "1e400", "1e999999999", "true", '"1"', "[1]", "{}", "1" * 5000, "1e-999999"]


@pytest.mark.parametrize("number", BAD_NUMBERS)
def test_a_number_that_is_no_price_is_set_aside_or_refused(number: str) -> None:
    good = (
        '"ok": {"mode": "chat", "litellm_provider": "x", "input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6}'
    )
    text = f'{{{good}, "bad": {{"mode": "chat", "litellm_provider": "x", "input_cost_per_token": {number}}}}}'
    try:
        found = feed(text)
    except SpecError:
        return
    assert [bad.name for bad in found.bad] == ["x bad/input"]
    assert all("/ok/" in price.sku for price in found.prices)


HOSTILE = {
    "nothing": b"",
    "text": b"prices are on our web page",
    "html": b"<html><script>alert(1)</script></html>",
    "not text": b"\xff\xfe\x00\x01" * 100,
    "deep list": b"[" * 200_000,
    "deep mapping": b'{"a":' * 200_000,
    "cut": b'{"a": {"mode": "chat"',
    "list of numbers": b"[1, 2, 3]",
    "only free": b'{"a": {"mode": "chat", "litellm_provider": "x", "input_cost_per_token": 0}}',
    "long exponent": b'{"a": {"mode": "chat", "input_cost_per_token": 1e99999999999999999999}}',
    "zip of nothing": b"PK\x03\x04" + b"\x00" * 100,
    "csv with a huge cell": (HEAD + "x" * 200_000).encode(),
    "csv with many columns": (HEAD.strip() + ",a" * 5000 + "\n1,2\n").encode(),
    "csv of words": (HEAD + "a,b,free,d,e,one,L4,24,maybe,,\n").encode(),
    "yaml anchors": b"prices: &a\n" + b"".join(b"  - &x%d [*x%d, *x%d]\n" % (n, n - 1, n - 1) for n in range(1, 40)),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_feed_ends_in_our_error(kind: str) -> None:
    started = time.monotonic()
    with pytest.raises(FtsdkError):
        feed(HOSTILE[kind], "feed.csv")
    assert time.monotonic() - started < 10


def test_a_zip_that_grows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(feed_source.feed_facts()["limits"], "unpacked_bytes", 1_000_000)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("aws.csv", HEAD + "," * 5_000_000)
    with pytest.raises(SpecError, match="unpacked"):
        feed(content.getvalue(), "catalog.zip")


class _Server(BaseHTTPRequestHandler):
    pages: ClassVar[dict[str, bytes]] = {}

    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "http://169.254.169.254/")
            self.end_headers()
        elif self.path in ("/endless", "/slow"):
            self.send_response(200)
            self.end_headers()
            try:
                for _ in range(2_000):
                    self.wfile.write(b"x" * (100_000 if self.path == "/endless" else 1))
                    time.sleep(0.0 if self.path == "/endless" else 0.1)
            except OSError:
                return
        elif self.path == "/gzip":
            self.send_response(200)
            self.send_header("Content-Encoding", "gzip")
            self.end_headers()
        else:
            page = self.pages.get(self.path)
            self.send_response(404 if page is None else 200)
            self.end_headers()
            self.wfile.write(page or b"")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the base class's name)
        del format, args


@pytest.fixture
def address() -> Generator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_feed_is_downloaded_and_its_address_is_the_source(address: str) -> None:
    _Server.pages["/prices.json"] = litellm(**LUNA).encode()
    found = parse_feed(read_feed_bytes(f"{address}/prices.json"), as_of=TODAY)
    assert {price.source for price in found.prices} == {f"{address}/prices.json"}


def test_a_named_feed_may_have_a_version(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"name": "mine", "version_url": f"{address}/version", "url": f"{address}/{{version}}/aws.csv"}
    monkeypatch.setitem(feed_source.feed_facts(), "feeds", [row])
    _Server.pages |= {"/version": b"7-1\n", "/7-1/aws.csv": (HEAD + "x,us,1,1,1,1,L4,24,False,,\n").encode()}
    assert parse_feed(read_named_feed("mine"), as_of=TODAY).prices[0].provider == "aws"
    _Server.pages["/version"] = b"../../secrets"
    with pytest.raises(SpecError, match="no version"):
        read_named_feed("mine")
    with pytest.raises(SpecError, match="did you mean 'mine'"):
        read_named_feed("mime")


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/missing", "answers 404"),
        ("/moved", "answers 302"),
        ("/gzip", "compressed"),
        ("/endless", "larger than"),
        ("/slow", "isn't whole after"),
    ],
)
def test_an_address_that_misbehaves_is_refused(
    address: str, path: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(feed_source.feed_facts()["limits"], "bytes", 1_000_000)
    monkeypatch.setitem(feed_source.feed_facts()["limits"], "seconds", 1)
    with pytest.raises(SpecError, match=why):
        read_feed_bytes(address + path)


@pytest.mark.parametrize(
    "source",
    ["http://example.com/x", "ftp://example.com/x", "https://me:secret@example.com/x", "https://[", "file:///x"],
)
def test_only_https_without_a_password_is_fetched(source: str) -> None:
    with pytest.raises(SpecError) as refused:
        read_feed_bytes(source)
    assert "secret" not in str(refused.value)


def test_a_folder_and_a_missing_file_are_not_feeds(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(SpecError, match="isn't a file"):
            read_feed_bytes(str(path))


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["prices", "update", *arguments])


def test_the_command_shows_the_diff_and_writes_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("genai_prices", reason="the extra 'cost' isn't installed")
    monkeypatch.setenv("FTSDK_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    markup = "[red]x[/]\x1b[31m"
    one = {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6}
    (tmp_path / "feed.json").write_text(litellm(**LUNA, **{markup: one}))
    shown = run("feed.json")
    assert shown.exit_code == 0, shown.output
    assert "openai api/gpt-6-luna/output  $0.5 -> $0.3 per million tokens (-40%)" in shown.output
    assert "\x1b" not in shown.output
    assert "nothing was written" in shown.output
    assert not (tmp_path / "home" / "prices.yaml").exists()
    written = run("feed.json", "--write", "--as-of", "2026-11-26")
    assert "appended to" in written.output
    assert (tmp_path / "home" / "prices.yaml").read_text().count("2026-11-26") == 3
    assert json.loads(run("feed.json", "--json").output)["changes"] == []


@pytest.mark.parametrize("name", ["genai-prices", "litellm", "gpuhunt"])
def test_the_command_fetches_each_named_feed_from_its_path(
    name: str, address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("genai_prices", reason="the extra 'cost' isn't installed")
    monkeypatch.setenv("FTSDK_HOME", str(tmp_path))
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("aws.csv", HEAD + "g6.xlarge,us-east-1,0.9,4,16,1,L4,24,False,,nvidia\n")
    served = {
        "genai-prices": (json.dumps(GENAI).encode(), "api/gpt-4o/input"),
        "litellm": (litellm(**LUNA).encode(), "api/gpt-6-luna/output"),
        "gpuhunt": (content.getvalue(), "ec2/us-east-1/g6.xlarge"),
    }
    # The packaged facts, with this machine's address in place of the host's.
    rows = [
        {key: re.sub(r"https://[^/]+", address, value) for key, value in row.items()}
        for row in feed_source.feed_facts()["feeds"]
    ]
    monkeypatch.setitem(feed_source.feed_facts(), "feeds", rows)
    row = next(row for row in rows if row["name"] == name)
    path = row["url"].removeprefix(address).format(version="7-1")
    _Server.pages |= {"/v2/version": b"7-1\n", path: served[name][0]}
    shown = run("--feed", name, "--json", "--all")
    assert shown.exit_code == 0, shown.output
    assert served[name][1] in [change["price"]["sku"] for change in json.loads(shown.output)["changes"]]


@pytest.mark.parametrize("arguments", [(), ("a.json", "--feed", "litellm"), ("a.json", "--only", "all")])
def test_the_command_needs_one_source(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code != 0


def test_too_many_prices_at_once_are_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(feed_source.feed_facts()["limits"], "written", 2)
    models = {f"m{n}": {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6} for n in range(2)}
    with pytest.raises(SpecError, match="--provider"):
        write_update(compare_feed(feed(litellm(**models)), BOOK), tmp_path / "p.yaml", book=BOOK)


SEEDS = (
    litellm(**LUNA).encode(),
    json.dumps(GENAI).encode(),
    (HEAD + "g6.xlarge,us-east-1,0.9,4,16,1,L4,24,False,,nvidia\n").encode(),
    b"prices:\n  - {provider: a, sku: b, unit: usd_per_job, usd: 1, source: s, as_of: 2026-01-01}\n",
)


@given(
    seed=st.sampled_from(SEEDS),
    at=st.floats(0, 1),
    cut=st.integers(0, 30),
    put=st.one_of(st.binary(max_size=8), st.sampled_from([b"-1", b"1e999", b"NaN", b"null", b"[[", b"2026-01-01"])),
)
def test_a_damaged_feed_ends_in_prices_or_in_our_error(seed: bytes, at: float, cut: int, put: bytes) -> None:
    start = int(at * len(seed))
    try:
        found = feed(seed[:start] + put + seed[start + cut :], "aws.csv")
    except FtsdkError:
        return
    compare_feed(found, BOOK)
    assert all(price.usd > 0 for price in found.prices)
