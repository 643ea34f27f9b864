"""Keys stay out of texts and logs, in whatever form they are repeated."""

from __future__ import annotations

import base64
import json
import logging
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote_plus

import pytest

from ftsdk import Dataset, FineTuneJob, Model
from ftsdk._secrets import check_key, looks_like_key, mask_urls, redact, redact_logs
from ftsdk.cost.pricebook.feed_source import read_feed_bytes
from ftsdk.errors import CredentialsError, FtsdkError, SpecError

KEY = 'Zq7/+"é&uHxWmP3vLk'


@pytest.mark.parametrize(
    "form",
    [
        KEY,
        KEY.upper(),
        quote_plus(KEY),
        json.dumps(KEY)[1:-1],
        json.dumps(KEY, ensure_ascii=False)[1:-1],
        base64.b64encode(KEY.encode()).decode(),
        base64.urlsafe_b64encode(KEY.encode()).decode(),
    ],
)
def test_a_key_is_removed_in_all_its_written_forms(form: str) -> None:
    shown = redact(f"before {form} after", [KEY])
    assert shown in ("before *** after", "before ***= after", "before ***== after")


@pytest.mark.parametrize("user", ["", "u", "us", "user"])
def test_a_key_is_removed_from_basic_credentials(user: str) -> None:
    encoded = base64.b64encode(f"{user}:{KEY}:x".encode()).decode()
    assert base64.b64encode(KEY.encode()).decode()[4:16] not in redact(encoded, [KEY])
    assert "***" in redact(encoded, [KEY])


def test_a_key_across_the_cut_leaves_no_half() -> None:
    assert redact("x" * 495 + KEY, [KEY], limit=500) == "x" * 495 + "***"


def test_keys_of_the_environment_are_removed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "wholly-unlike-others")
    assert redact("got wholly-unlike-others") == "got ***"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
        ("https://me:pw@host/v1 failed", "https://***@host/v1 failed"),
        ("PUT https://x.example/f?X-Amz-Signature=abc&y=1 failed", "PUT https://x.example/f?*** failed"),
        ("{'api_key': 'abcdef', 'rank': 8}", "{'api_key': '***', 'rank': 8}"),
        ('"hf_token": "abcdef"', '"hf_token": "***"'),
        ("token hf_" + "a" * 30, "token ***"),
        ("sk-proj-0123456789abcdef is wrong", "*** is wrong"),
        ("max_tokens=4096000, eos_token='<|im_end|>'", "max_tokens=4096000, eos_token='<|im_end|>'"),
        ("hf_hub_download failed", "hf_hub_download failed"),
        ("a basic description, and a bearer of news", "a basic description, and a bearer *** news"),
    ],
)
def test_what_looks_like_a_secret_is_removed_and_no_more(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize("part", ["a", "a-", "http://", "sk-", "bearer ", "x@", "://", "key=", "a://b"])
def test_long_texts_are_redacted_in_little_time(part: str) -> None:
    started = time.perf_counter()
    redact(part * 1_000_000, [KEY])
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize("key", ["abc\ndef", "abcé", "abc def", "abc\x00", "abc\u2028def"])
def test_a_key_that_no_header_takes_is_refused_unseen(key: str) -> None:
    with pytest.raises(CredentialsError, match="MY_KEY") as found:
        check_key(key, source="MY_KEY")
    assert "abc" not in str(found.value)
    assert check_key(" abc\n", source="MY_KEY") == "abc"


def test_a_key_is_told_from_a_name() -> None:
    assert all(map(looks_like_key, ["hf_" + "Ab1" * 10, "0123456789abcdef", "tgp_v1_abcdefabcdefabcdefab12"]))
    assert not any(map(looks_like_key, ["MY_API_KEY", "K", "AZURE_OPENAI_KEY_2", "OpenRouterKey"]))


def test_a_key_stays_out_of_the_logs_of_http_clients(caplog: pytest.LogCaptureFixture) -> None:
    redact_logs(KEY, ["some.client"])
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore.http11", "some.client"):
        logging.getLogger(name).debug("headers %r", {"x-echo": f"Bearer {KEY}"})
        try:
            raise ValueError(KEY)
        except ValueError:
            logging.getLogger(name).exception("failed")
    assert len(caplog.records) == 6
    assert KEY not in caplog.text
    assert "x-echo" in caplog.text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("https://ann:S3cret@host/x.jsonl", "https://***@host/x.jsonl"),
        ("https:/ann:S3cret@host/x.jsonl", "https:/***@host/x.jsonl"),
        ("s3://KEY@bucket/x", "s3://***@bucket/x"),
        ("https://h/x?sv=1&sig=S3cret", "https://h/x?sv=1&sig=***"),
        ("https://h/x?X-Amz-Credential=A%2F1&X-Amz-Signature=S3cret&a=1", "https://h/x?X-Amz-Credential=***&X-Amz-Signature=***&a=1"),
        ("https://h/x?token=S3cret#top", "https://h/x?token=***#top"),
        ("https://h/x?AWSAccessKeyId=AK&Signature=S3cret", "https://h/x?AWSAccessKeyId=***&Signature=***"),
        ("https://h/x?design=plain&monkey=1", "https://h/x?design=***&monkey=1"),
        ("https://h/x?S3cret", "https://h/x?***"),
        ("s3://b/x.csv?k=S3cret;j=S3cret", "s3://b/x.csv?k=***;j=***"),
        ("https:/h/x?k=S3cret", "https:/h/x?k=***"),
        ("at 'https://h/x?k=S3cret', and https://h/y?k=S3cret", "at 'https://h/x?k=***', and https://h/y?k=***"),
        ("https://h/x#k=S3cret&j=2", "https://h/x#k=***&j=2"),
        ("https://h/services/T0/B0/aB3dE5gH7jK9mN1pQ3sT5vW7/x.csv", "https://h/services/T0/B0/***/x.csv"),
        ("https://h/hf_abcdefghijklmnopqrstuvwx/x.csv", "https://h/***/x.csv"),
        ("https://h/resolve/0123456789abcdef0123456789abcdef01234567/x", "https://h/resolve/0123456789abcdef0123456789abcdef01234567/x"),
        ("rows?.jsonl and what? k=v", "rows?.jsonl and what? k=v"),
        ("ann@host.txt and C:/data/x@1.csv", "ann@host.txt and C:/data/x@1.csv"),
    ],
)  # fmt: skip
def test_secrets_of_urls_are_masked(text: str, masked: str) -> None:
    assert mask_urls(text) == masked


SIGNED = "https://ann:S3cret@host/x.jsonl?sig=S3cret"


@pytest.mark.parametrize(
    "build",
    [
        lambda: Model(id=SIGNED),
        lambda: Model(id="org/name", adapter=SIGNED),
        lambda: Model(id="org/name", revision=SIGNED),
        lambda: FineTuneJob(model=SIGNED, train=Dataset.from_rows([{"prompt": "a", "completion": "b"}])),
        lambda: Dataset.from_file(SIGNED),
        lambda: Dataset.from_file(Path(SIGNED)),
        lambda: Dataset.from_hub(SIGNED),
        lambda: Dataset.from_hub("org/name", revision=SIGNED),
        lambda: FineTuneJob.from_dict({"model": "org/name", "train": {"file": SIGNED}}),
        lambda: FineTuneJob.from_dict({"model": "org/name", "train": {"hub": SIGNED}}),
        lambda: read_feed_bytes(SIGNED),
    ],
)
def test_a_url_with_a_password_is_refused_without_it(build: Callable[[], object]) -> None:
    with pytest.raises(FtsdkError) as caught:
        build()
    assert "S3cret" not in "".join(traceback.format_exception(caught.value))


def test_a_hub_url_is_answered_with_its_id() -> None:
    with pytest.raises(SpecError, match=r"write the hub id: 'org/name'"):
        Model(id="https://huggingface.co/org/name")


def test_names_of_rows_are_kept_without_passwords() -> None:
    rows = Dataset.from_rows([{"prompt": "a", "completion": "b"}], name=SIGNED)
    assert "S3cret" not in rows.name + str(rows) + rows.ref().to_json()
