from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from routed_targets import Target
from typer.testing import CliRunner

from ftsdk import SpecError
from ftsdk.cli.app import app
from ftsdk.deploy.router.route_file import RouteFile

FILE = """\
name: mails
targets:
  v3: {url: "http://127.0.0.1:9/v1", model: mails-v3, api_key_env: ROUTE_KEY}
  v4: {url: "http://127.0.0.1:9/v1", model: mails-v4}
fallback:
  frontier:
    url: https://api.example.com/v1
    model: big
    price: {input_usd_per_mtok: 1, output_usd_per_mtok: 5}
canary: 0.05
gate: {metric: accuracy, at_least: 0.9}
folder: state
validator: checks.py:is_short
breaker: {failures: 2, cooldown_s: 15}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "checks.py").write_text("def is_short(messages, answer):\n    return len(answer) < 20\n")
    path = tmp_path / "route.yaml"
    path.write_text(FILE)
    return path


def run(*words: object) -> str:
    found = CliRunner().invoke(app, [str(word) for word in words])
    assert found.exit_code == 0, found.output
    return found.output


def test_a_file_has_the_arguments_of_a_router_by_the_same_names(file: Path) -> None:
    config = RouteFile.from_yaml(file).router(file).config
    assert (config.champion, config.canary, config.share) == ("v3", "v4", 0.05)
    assert config.rule.at_least == 0.9
    assert config.folder == file.parent / "state"
    assert config.contract.validator is not None
    assert config.contract.validator([], "short")
    assert not config.contract.validator([], "x" * 20)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("canary:", "canry:", "canary"),
        ("checks.py:is_short", "checks.py:nothing", "no function"),
        ("checks.py:is_short", "other.py:is_short", "beside"),
        ("canary: 0.05", "canary: 5", "canary"),
        ("failures: 2", "failures: 0", "failures"),
    ],
)
def test_a_file_that_is_wrong_says_where(file: Path, old: str, new: str, says: str) -> None:
    file.write_text(FILE.replace(old, new))
    with pytest.raises(SpecError, match=says):
        RouteFile.from_yaml(file).router(file)


def test_the_alias_is_switched_promoted_and_turned_back_from_a_shell(file: Path) -> None:
    assert "canary v4 (20% of conversations)" in run("route", "switch", file, "--canary", "v4", "--share", 0.2)
    assert "champion v4" in run("route", "promote", file, "--reason", "better")
    run("route", "switch", file, "v4", "--canary", "v3", "--share", 0.5)
    assert "champion v4" in run("route", "rollback", file)
    status = run("route", "status", file)
    assert "mails: champion v4; by hand" in status
    assert '"champion": "v4"' in run("route", "status", file, "--json")


def test_status_of_a_route_that_never_ran_writes_nothing(file: Path) -> None:
    assert "canary v4" in run("route", "status", file)
    assert not (file.parent / "state").exists()


def test_the_configuration_for_litellm_has_a_breaker_and_no_key(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUTE_KEY", "sk-secret-of-the-route-1234")
    text = run("route", "litellm", file)
    config = yaml.safe_load(text)
    settings = config["router_settings"]
    groups: dict[str, list[dict[str, object]]] = {}
    for model in config["model_list"]:
        groups.setdefault(model["model_name"], []).append(model["litellm_params"])

    assert (settings["allowed_fails"], settings["cooldown_time"]) == (2, 15)
    assert settings["num_retries"] == 0
    assert settings["fallbacks"] == [{"mails": ["frontier"]}]
    assert {entry for fallback in settings["fallbacks"] for names in fallback.values() for entry in names} <= set(
        groups
    )
    assert [model["weight"] for model in groups["mails"]] == [0.95, 0.05]
    assert groups["mails"][0]["api_key"] == "os.environ/ROUTE_KEY"
    assert groups["frontier"][0]["output_cost_per_token"] == pytest.approx(5e-6)
    assert "secret" not in text


def test_litellm_takes_the_configuration(file: Path, tuned: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    litellm = pytest.importorskip(
        "litellm", reason="LiteLLM isn't a dependency; install it to hold the file against it"
    )
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    config = yaml.safe_load(run("route", "litellm", file))
    router = litellm.Router(model_list=config["model_list"], **config["router_settings"])
    assert (router.allowed_fails, router.cooldown_time) == (2, 15)


@pytest.mark.parametrize(
    "line",
    [
        "validator: ../checks.py:is_short",
        "validator: /etc/passwd.py:is_short",
        'validator: "checks\\0.py:is_short"',
        "validator: leads_out.py:is_short",
        "validator: leaves.py:is_short",
        'folder: "a\\0b"',
        "folder: /proc/1/none",
        "name: ../other",
        "response_schema: {type: 5}",
        "targets: {v3: {url: 'https://me:hunter2@api.example.com/v1', model: m}}",
        "targets: {v3: {url: 'https://api.example.com/v1', model: m, api_key: hunter2}}",
        "targets: {v3: {url: 'https://api.example.com/v1?key=hunter2', model: m}}",
        "targets: {'../v3': {url: 'https://api.example.com/v1', model: m}}",
        "targets: {v3: {url: 'file:///etc/passwd', model: m}}",
        "targets: &a {v3: *a}",
    ],
)
def test_a_file_that_means_harm_is_an_error_in_words(line: str, tmp_path: Path) -> None:
    beside = tmp_path / "routes"
    beside.mkdir()
    (tmp_path / "checks.py").write_text("def is_short(messages, answer):\n    return True\n")
    (beside / "leads_out.py").symlink_to(tmp_path / "checks.py")
    (beside / "leaves.py").write_text("raise SystemExit(0)\n")
    targets = "" if line.startswith("targets") else "targets: {v3: {url: 'http://127.0.0.1:9/v1', model: m}}\n"
    file = beside / "route.yaml"
    file.write_text(f"{targets}{line}\n")
    with pytest.raises(SpecError) as raised, RouteFile.from_yaml(file).router(file):
        pass
    assert "hunter2" not in str(raised.value)


def test_a_file_is_a_file_and_nothing_that_waits(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "route.yaml")
    with pytest.raises(SpecError, match="regular file"):
        RouteFile.from_yaml(tmp_path / "route.yaml")
