"""What the loopback Modal decides without a wire: what follows an attempt, what is refused, where a Volume is."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("modal", reason="the extra 'modal' isn't installed")

from modal_proto import api_pb2 as pb

from ftsdk.testing.modal import Interruption, WireFault, protocol
from ftsdk.testing.modal.containers import translated
from ftsdk.testing.modal.limits import billing_rates, why_refused
from ftsdk.testing.modal.mirror import mirror
from ftsdk.testing.modal.verdicts import Again, Attempts, Ended, Final, decide
from ftsdk.testing.modal.world import FaultScript

NONE = Attempts()
TWO_RETRIES = pb.FunctionRetryPolicy(retries=2, initial_delay_ms=1000, backoff_coefficient=2.0, max_delay_ms=1500)


def after(how, attempts=NONE, *, policy=TWO_RETRIES, is_cancelled=False):
    return decide(
        Ended(how=how, result=pb.GenericResult()),
        attempts,
        policy=policy,
        crashes_forgiven=1,
        is_cancelled=is_cancelled,
    )


def test_every_rpc_of_the_loopback_is_in_the_installed_protocol() -> None:
    assert protocol.problems() == []
    assert {"FunctionMap", "VolumePutFiles2", "FunctionGetInputs", "AppList"} <= set(protocol.implemented())


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("async def AppCreate(self, request: pb.AppStopRequest): ...", "AppCreate is sent a AppCreateRequest"),
        (
            "async def AppCreate(self, request: pb.AppCreateRequest): return request.tag",
            "AppCreateRequest has no field tag",
        ),
        ("async def AppGetLogs(self, request: pb.AppGetLogsRequest): return request.app_id.x", None),
        ("pb.AppCreateResponse(application_id='ap-1')", "AppCreateResponse has no field application_id"),
        ("pb.GenericResult.GENERIC_STATUS_EATEN", "there is no pb.GenericResult.GENERIC_STATUS_EATEN"),
    ],
)
def test_what_the_protocol_does_not_have_is_found_in_the_source(source: str, says: str | None) -> None:
    found = list(protocol.problems_of(source))
    assert [problem for problem in found if says is None or says not in problem] == []
    assert bool(found) == (says is not None)


def test_an_exception_is_retried_with_growing_delays_up_to_the_limit() -> None:
    first = after("raised")
    assert first == Again(1.0, Attempts(retries=1))
    assert after("raised", Attempts(retries=1)) == Again(1.5, Attempts(retries=2))
    assert after("timeout", Attempts(retries=2)) == Final()


def test_preemption_uses_up_no_retry_and_needs_none() -> None:
    assert after("preempted", Attempts(retries=2), policy=pb.FunctionRetryPolicy()) == Again(
        0.0, Attempts(retries=2, preemptions=1)
    )


def test_a_crash_is_forgiven_a_few_times_whatever_the_retries_are() -> None:
    assert after("crashed", policy=pb.FunctionRetryPolicy()) == Again(0.0, Attempts(crashes=1))
    assert after("oom", Attempts(crashes=1)) == Final()


@pytest.mark.parametrize("how", ["raised", "timeout", "preempted", "crashed"])
def test_nothing_is_tried_again_after_a_cancel(how: str) -> None:
    assert after(how, is_cancelled=True) == Final()


def test_mount_paths_in_the_environment_become_folders_of_the_host() -> None:
    volumes = {"/runs": Path("/host/vo-1"), "/runs/cache": Path("/host/vo-2")}
    given = {"A": "/runs", "B": "/runs/cache/hub", "C": "/runsalot", "D": "see /runs", "E": "/runs/x"}
    assert translated(given, volumes) == {
        "A": "/host/vo-1",
        "B": "/host/vo-2/hub",
        "C": "/runsalot",
        "D": "see /runs",
        "E": "/host/vo-1/x",
    }


@pytest.mark.parametrize(
    ("gpu", "count", "nodes", "says"),
    [
        ("H100", 8, 1, None),
        ("H100!", 1, 1, None),
        ("A10", 4, 1, None),
        ("", 0, 1, None),
        ("H1000", 1, 1, "unknown GPU type 'H1000'; did you mean 'H100'?"),
        ("H100", 9, 1, "1 to 8 H100"),
        ("A10", 5, 1, "1 to 4 A10"),
        ("H100", 8, 4, None),
        ("H100", 4, 2, "all 8 GPUs of its host; got 4"),
        ("H100", 8, 33, "at most 32 containers"),
    ],
)
def test_gpus_and_clusters_are_refused_as_documented(gpu: str, count: int, nodes: int, says: str | None) -> None:
    resources = pb.Resources(gpu_config=pb.GPUConfig(gpu_type=gpu, count=count))
    reason = why_refused(pb.Function(timeout_secs=60, resources=resources, _experimental_group_size=nodes))
    assert reason is None if says is None else says in str(reason)


def test_a_mirrored_folder_equals_the_other_links_included(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    (source / "x").mkdir(parents=True)
    (source / "x" / "f").write_text("1")
    (source / "link").symlink_to("x/f")
    (source / "was-folder").write_text("file")
    (target / "old" / "deep").mkdir(parents=True)
    (target / "old" / "deep" / "f").write_text("0")
    (target / "was-folder").mkdir()
    mirror(source, target)
    (source / "x" / "f").write_text("longer")
    mirror(source, target)
    assert sorted(str(path.relative_to(target)) for path in target.rglob("*")) == ["link", "was-folder", "x", "x/f"]
    assert ((target / "x" / "f").read_text(), str((target / "link").readlink())) == ("longer", "x/f")


def test_rates_are_decimal_text_with_a_gpu_cpu_and_memory_among_them() -> None:
    rates = billing_rates()
    assert {"gpu_h100", "cpu", "memory"} <= set(rates)
    assert all(float(rate) < 0.01 for rate in rates.values())


def test_a_fault_skips_some_applies_to_some_and_can_be_removed() -> None:
    faults = FaultScript()
    fault, other = WireFault(skip=1, times=2), Interruption(how="crash")
    faults.add(fault)
    faults.add(other)
    assert [faults.happens(fault) for _ in range(4)] == [False, True, True, False]
    assert (list(faults.pending(WireFault)), faults.is_active(fault)) == ([], True)
    faults.end(fault)
    assert not faults.is_active(fault)
    assert list(faults.pending(Interruption)) == [other]
