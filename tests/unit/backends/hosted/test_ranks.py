"""How the processes of a run, on one host or several, find each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftsdk.backends.hosted.ranks import Cluster, agent_command


def test_one_host_meets_nobody_and_several_meet_at_the_first(tmp_path: Path) -> None:
    alone = agent_command(tmp_path, processes=8, cluster=Cluster())
    assert "--standalone" in alone
    assert alone[alone.index("--nproc-per-node") + 1] == "8"
    second = agent_command(tmp_path, processes=16, cluster=Cluster(nodes=2, rank=1, address="10.0.0.7"))
    assert "--standalone" not in second
    told = {
        name: second[second.index(name) + 1]
        for name in ("--nnodes", "--node-rank", "--master-addr", "--nproc-per-node")
    }
    assert told == {"--nnodes": "2", "--node-rank": "1", "--master-addr": "10.0.0.7", "--nproc-per-node": "8"}


def test_the_hosts_of_a_cluster_are_told_by_an_environment_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Cluster.of_environment() == Cluster()
    cluster = Cluster(nodes=4, rank=3, address="fdaa::1")
    monkeypatch.setenv("FTSDK_CLUSTER", cluster.to_json())
    assert Cluster.of_environment() == cluster
