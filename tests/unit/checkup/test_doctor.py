"""`ftsdk doctor`: what it finds, what it never shows, and whom it asks."""

from __future__ import annotations

import io
import json
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest
from loopback_sshd import LoopbackSSH
from pydantic import SecretStr
from rich.console import Console
from slurm_cluster import SlurmCluster
from typer.testing import CliRunner

import ftsdk
from ftsdk import SSH, Dataset, FineTuneJob, Modal, Slurm, Together
from ftsdk.backends.hosted.launcher import Hardware
from ftsdk.checkup.access import check_access
from ftsdk.checkup.check import Check, Checkup
from ftsdk.checkup.installed import check_extras
from ftsdk.checkup.keys import check_keys
from ftsdk.checkup.machine import check_machine
from ftsdk.checkup.product import measure_bfloat16
from ftsdk.cli.app import app
from ftsdk.errors import SpecError
from ftsdk.protocol import Backend
from ftsdk.run.ledger import Ledger, Record

DECLARED = [
    "core>=2",
    'one>=1.5; extra == "first"',
    'two>=1; extra == "first"',
    'two>=1; extra == "second"',
    'ftsdk[first]; extra == "second"',
    'three; extra == "third" and python_version < "3"',
    'ftsdk[first,second]; extra == "all"',
]


def by_name(checks: list[Check] | tuple[Check, ...]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def extras_with(**versions: str) -> dict[str, Check]:
    def version_of(name: str) -> str:
        if name not in versions:
            raise PackageNotFoundError(name)
        return versions[name]

    return by_name(check_extras(requirements=lambda: DECLARED, version_of=version_of))


def test_an_extra_is_there_missing_or_too_old() -> None:
    found = extras_with(ftsdk="0.1.0", core="2.1", two="1.0")
    assert set(found) == {"ftsdk", "first", "second", "third"}
    assert found["ftsdk"].state == "ok"
    assert (found["first"].state, found["first"].found) == ("missing", "without one")
    assert found["first"].next_step == 'pip install "ftsdk[first]"'
    assert (found["second"].state, found["second"].found) == ("ok", "two 1.0")
    old = extras_with(ftsdk="0.1.0", core="2.1", one="1.4", two="1.0")["first"]
    assert (old.state, old.found) == ("problem", "one 1.4 isn't >=1.5")
    assert old.next_step == 'pip install --upgrade "ftsdk[first]"'


def test_a_core_that_lacks_a_package_is_a_problem() -> None:
    assert extras_with(ftsdk="0.1.0")["ftsdk"].found == "core is missing"


def test_the_extras_of_this_installation_are_listed() -> None:
    found = by_name(check_extras())
    assert {"local", "modal", "together", "export", "wandb"} <= set(found)
    assert "all" not in found
    assert found["ftsdk"].state == "ok"


def test_keys_are_named_and_never_shown(tmp_path: Path) -> None:
    token = tmp_path / "modal.toml"
    token.write_text('[default]\ntoken_id = "ak-planted"\ntoken_secret = "as-planted"\n')
    given = {
        "TOGETHER_API_KEY": "planted-together",
        "HF_TOKEN": "hf_planted",
        "MODAL_CONFIG_PATH": str(token),
        "WANDB_API_KEY": " ",
    }
    found = by_name(check_keys(given))
    assert {name: check.state for name, check in found.items()} == {
        "Together": "ok",
        "Modal": "ok",
        "Hugging Face": "ok",
        "Weights & Biases": "missing",
    }
    assert found["Together"].found == "in TOGETHER_API_KEY"
    assert "planted" not in json.dumps([check.to_dict() for check in found.values()])


def test_half_a_token_is_a_problem(tmp_path: Path) -> None:
    given = {"MODAL_TOKEN_ID": "ak-1", "MODAL_CONFIG_PATH": str(tmp_path / "none")}
    found = by_name(check_keys(given))["Modal"]
    assert (found.state, found.next_step) == ("problem", "set MODAL_TOKEN_SECRET, too")


def test_a_login_in_a_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hf_planted")
    found = by_name(check_keys({"HF_HOME": str(tmp_path)}))["Hugging Face"]
    assert (found.state, found.found) == ("ok", f"in {tmp_path}/token")


def asked(backend: Backend, *, timeout_s: float = 120.0) -> Check:
    (found,) = check_access(is_online=True, backends=[backend], timeout_s=timeout_s)
    return found


def test_together_answers_refuses_or_is_away() -> None:
    pytest.importorskip("together", reason="the extra 'together' isn't installed")
    from ftsdk.testing.together import TogetherService

    with TogetherService() as service:
        there = asked(Together(base_url=service.base_url, api_key=SecretStr(service.key)))
        refused = asked(Together(base_url=service.base_url, api_key=SecretStr("sk-planted-wrong")))
        assert {request.method for request in service.requests} == {"GET"}
        url = service.base_url
    away = asked(Together(base_url=url, api_key=SecretStr("sk-planted")), timeout_s=2.0)
    assert (there.state, there.found) == ("ok", "accepts the key; 0 fine-tuning jobs there")
    assert (refused.state, away.state) == ("problem", "problem")
    assert "refused the key" in refused.found
    assert refused.next_step.startswith("Set TOGETHER_API_KEY")
    assert "planted" not in f"{refused}{away}"


def test_modal_answers(modal_service: Any) -> None:
    found = asked(Modal())
    assert (found.state, found.found.partition(",")[0]) == ("ok", "accepts the token")


def test_a_machine_behind_ssh_answers_or_says_what_is_wrong(ssh_on_loopback: LoopbackSSH) -> None:
    pytest.importorskip("torch", reason="the extra 'local' isn't installed")
    there = asked(SSH(host="box", python=sys.executable, ssh=ssh_on_loopback.ssh))
    assert (there.name, there.state) == ("ssh (box)", "ok")
    assert "torch" in there.found
    closed = asked(SSH(host="closed", ssh=ssh_on_loopback.ssh))
    assert (closed.state, "Connection refused" in closed.found) == ("problem", True)
    stranger = asked(SSH(host="stranger", ssh=ssh_on_loopback.ssh))
    assert "ssh-add" in stranger.next_step
    with ssh_on_loopback.failing("timeout"):
        silent = asked(SSH(host="box", python=sys.executable, ssh=ssh_on_loopback.ssh), timeout_s=0.5)
    assert silent.state == "problem"


def test_a_slurm_answers(slurm_cluster: SlurmCluster) -> None:
    found = asked(Slurm())
    assert (found.state, found.found) == ("ok", "partitions: main* with 2 nodes, short with 1 node")


def test_a_machine_without_slurm_is_told_to_name_a_login_node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = asked(Slurm())
    assert "there is no sinfo here" in found.found
    assert "Slurm(host=" in found.next_step


def test_offline_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("together", reason="the extra 'together' isn't installed")
    from ftsdk.testing.together import TogetherService

    with TogetherService() as service:
        monkeypatch.setenv("TOGETHER_BASE_URL", service.base_url)
        monkeypatch.setenv("TOGETHER_API_KEY", service.key)
        found = ftsdk.doctor(measure=False)
        assert not service.requests
    access = [check for check in found.checks if check.part == "access"]
    assert {check.state for check in access} == {"not checked"}
    assert {"local", "together", "modal", "slurm", "ssh"} <= {check.name for check in access}


def test_what_nobody_has_set_up_is_missing_and_no_problem(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = by_name(check_access(is_online=True, backends=None, timeout_s=2.0))
    assert found["local"].state in ("ok", "missing")
    assert {found[name].state for name in ("together", "modal", "slurm", "ssh")} == {"missing"}


def test_machines_of_earlier_runs_are_asked(tmp_path: Path) -> None:
    rows = Dataset.from_rows([{"prompt": "a question", "completion": "an answer"}])
    plan = FineTuneJob(model="Qwen/Qwen3-8B", train=rows, backend=SSH(host="gpu-box", gpus=2)).plan()
    for number in range(2):
        options = {"host": "gpu-box", "gpus": number}
        Ledger().intend(Record(ref=f"ssh:20261123-ab12c{number}", name="mails", plan=plan.to_dict(), options=options))
    found = check_access(is_online=False, backends=None, timeout_s=1.0)
    assert [check.name for check in found].count("ssh (gpu-box)") == 1


def test_memory_says_which_models_fit() -> None:
    def of(hardware: Hardware) -> dict[str, Check]:
        return by_name(check_machine(is_measured=False, hardware=hardware))

    large = of(Hardware(device="cuda", name="H100", memory_gib=80.0))
    small = of(Hardware(device="cuda", name="T4", memory_gib=16.0, has_bfloat16=False))
    assert {"fits QLoRA", "fits LoRA", "fits full fine-tuning"} <= set(large)

    def billions(check: Check) -> float:
        return float(check.found.removeprefix("up to ").partition("B")[0])

    assert billions(large["fits QLoRA"]) > billions(large["fits LoRA"]) > billions(large["fits full fine-tuning"])
    assert billions(large["fits LoRA"]) > billions(small["fits LoRA"])
    assert of(Hardware(device="cpu", name="a board", memory_gib=0.2))["fits LoRA"].state == "missing"


@pytest.mark.parametrize(
    ("measured", "state", "said"),
    [((4.0, "cpu"), "ok", "4.0 times"), ((0.3, "cpu"), "ok", "slow: 0.3 times"), (None, "problem", "can't multiply")],
)
def test_a_measured_product_is_judged(measured: tuple[float, str] | None, state: str, said: str) -> None:
    pytest.importorskip("torch", reason="the extra 'local' isn't installed")
    found = by_name(check_machine(measure=lambda: measured))["bfloat16"]
    assert (found.state, said in found.found) == (state, True)


def test_a_product_is_measured_in_another_process() -> None:
    pytest.importorskip("torch", reason="the extra 'local' isn't installed")
    measured = measure_bfloat16()
    assert measured is not None
    assert measured[0] > 0
    assert measured[1] in ("cpu", "cuda")


def test_a_home_that_cannot_be_written_to_is_a_problem(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FTSDK_HOME", str(tmp_path / "file" / "home"))
    found = by_name(check_machine(is_measured=False))["home"]
    assert (found.state, found.next_step) == ("problem", "set FTSDK_HOME to a folder of yours")


def a_checkup(*states: str) -> Checkup:
    return Checkup.from_dict(
        {
            "checks": [
                {"part": "keys", "name": f"n{i}", "state": state, "found": "a\x1b[31m<b>[red]", "next_step": "do it"}
                for i, state in enumerate(states)
            ]
        }
    )


def test_a_checkup_prints_and_survives_json() -> None:
    found = a_checkup("ok", "missing", "problem")
    assert (found.is_ok, [check.name for check in found.problems]) == (False, ["n2"])
    assert str(found).endswith("1 problem: n2.")
    assert str(found).count("-> do it") == 3
    assert Checkup.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    console = Console(width=200, file=io.StringIO())
    console.print(found)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "[red]" in shown
    assert "\x1b[31m" not in shown
    assert "&lt;b&gt;" in found.to_html()


def test_a_checkup_is_wrapped_to_the_width_and_paths_stay_whole() -> None:
    long = Check(part="machine", name="home", state="ok", found="/home/" + "a" * 60, next_step="set it " * 20)
    shown = Checkup(checks=(long,)).to_text(60)
    assert "/home/" + "a" * 60 in shown
    assert all(len(line) <= 60 or "/home/" in line for line in shown.splitlines())
    assert shown.endswith("No problems found.")


def test_the_command_prints_json_and_its_status_tells_of_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    done = CliRunner().invoke(app, ["doctor", "--quick", "--json"])
    assert done.exit_code == 0
    found = Checkup.from_dict(json.loads(done.stdout))
    assert {check.part for check in found.checks} == {"installed", "keys", "access", "machine"}
    assert all(check.next_step for check in found.checks)
    monkeypatch.setenv("MODAL_TOKEN_ID", "ak-planted")
    done = CliRunner().invoke(app, ["doctor", "--quick"])
    assert done.exit_code == 1
    assert "1 problem: Modal." in done.stdout
    assert "planted" not in done.stdout


def test_a_limit_that_is_none_is_refused() -> None:
    with pytest.raises(SpecError, match="timeout_s"):
        ftsdk.doctor(timeout_s=0)
