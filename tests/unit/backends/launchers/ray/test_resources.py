"""What a cluster has, against what a run asks for."""

from __future__ import annotations

import pytest

from ftsdk.backends.launchers.kept.jobs import job_id_of, jobs_from, newest_job, number_of, with_job
from ftsdk.backends.launchers.ray.jobs import Job
from ftsdk.backends.launchers.ray.orphans import orphans
from ftsdk.backends.launchers.ray.resources import NodeResources, describe_nodes, why_impossible

HEAD = NodeResources("head", {"memory": 7e9, "node:__internal_head__": 1.0, "object_store_memory": 8e7})
SMALL = NodeResources("small", {"CPU": 8.0})
LARGE = NodeResources("large", {"CPU": 64.0, "GPU": 8.0, "accelerator_type:H100": 1.0, "memory": 64 * 2.0**30})


def test_nodes_are_described_by_what_they_have() -> None:
    assert describe_nodes([HEAD, SMALL, SMALL, LARGE]) == (
        "1 node with no cores for jobs; 2 nodes with CPU 8; 1 node with CPU 64, GPU 8, accelerator_type:H100 1"
    )
    assert describe_nodes([]) == "no nodes"


@pytest.mark.parametrize(
    ("bundle", "count", "said"),
    [
        ({"CPU": 8.0}, 3, ""),
        ({"CPU": 8.0}, 4, "3 of its nodes have that"),
        ({"CPU": 64.0, "GPU": 8.0}, 2, "1 of its nodes has that"),
        ({"CPU": 1.0, "GPU": 16.0}, 1, "the most on a node is GPU 8"),
        ({"CPU": 1.0, "memory": 128 * 2.0**30}, 1, "the most on a node is memory 64.0 GiB"),
        ({"CPU": 1.0, "accelerator_type:A100": 0.001}, 1, "accelerator_type:A100 0"),
    ],
)
def test_what_no_node_has_is_told(bundle: dict[str, float], count: int, said: str) -> None:
    found = why_impossible(bundle, count, [HEAD, SMALL, SMALL, LARGE])
    assert said in found if said else not found


def test_what_only_two_nodes_have_together_is_impossible() -> None:
    fast = NodeResources("fast", {"CPU": 2.0, "GPU": 1.0})
    assert "no node has all of it" in why_impossible({"CPU": 8.0, "GPU": 1.0}, 1, [SMALL, fast])


def test_ids_of_jobs_are_told_apart() -> None:
    assert [job_id_of("a", n) for n in (1, 2, 12)] == ["ftsdk-a", "ftsdk-a~2", "ftsdk-a~12"]
    assert [number_of(job_id_of("a-2.3", n)) for n in (1, 2, 12)] == [1, 2, 12]
    content = with_job(with_job(None, "ftsdk-a"), "ftsdk-a~2")
    assert jobs_from(content) == ["ftsdk-a", "ftsdk-a~2"]
    assert newest_job(content) == "ftsdk-a~2"
    assert with_job(content, "ftsdk-a") is None
    assert jobs_from(b"{") == jobs_from(b"[1]") == jobs_from(None) == []


def test_orphans_are_jobs_without_a_run_and_runs_without_a_job() -> None:
    jobs = [
        Job("ftsdk-a", "RUNNING", run_id="a"),
        Job("ftsdk-b", "RUNNING", run_id="b"),
        Job("ftsdk-c", "FAILED", run_id="c"),
        Job("ftsdk-d~2", "PENDING", run_id="d"),
    ]
    found = orphans(jobs, {"a": "running", "b": "succeeded", "c": "running"}, address="http://head:8265")
    assert [(one.kind, one.native or one.run_id) for one in found] == [
        ("app", "ftsdk-b"),
        ("app", "ftsdk-d~2"),
        ("run", "c"),
    ]
    assert "ray job stop --address http://head:8265 ftsdk-d~2" in found[1].advice
