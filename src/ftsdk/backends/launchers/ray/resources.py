"""What nodes have, against what a run asks for. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

__all__ = ["NodeResources", "describe_nodes", "why_impossible", "why_waiting"]

_INTERNAL = ("node:", "object_store_memory")
_UNITS = {"memory": 2**30}


class NodeResources(NamedTuple):
    """A node of the cluster."""

    name: str
    total: Mapping[str, float]
    """Ray's words, and amounts: `CPU`, `GPU`, `memory` in bytes, and whatever the cluster's owner has named."""


def why_impossible(bundle: Mapping[str, float], count: int, nodes: Sequence[NodeResources]) -> str:
    """Return why the nodes can't give what is asked even if nothing else ran; empty if they can.

    Args:
        bundle: What each node has to have.
        count: How many nodes.
        nodes: The live ones.
    """
    fitting = sum(all(node.total.get(name, 0.0) >= amount for name, amount in bundle.items()) for node in nodes)
    if fitting >= count:
        return ""
    asked = f"{count} node{'s' if count > 1 else ''} with {_amounts(bundle)}{' each' if count > 1 else ''}"
    if not fitting:
        most = {name: max((node.total.get(name, 0.0) for node in nodes), default=0.0) for name in bundle}
        short = [name for name, amount in bundle.items() if most[name] < amount]
        missing = ", ".join(f"{_amount(name, most[name])}" for name in short)
        detail = f"the most on a node is {missing}" if short else "no node has all of it"
    else:
        detail = f"{fitting} of its nodes {'has' if fitting == 1 else 'have'} that"
    return (
        f"the run asks for {asked}, which the cluster doesn't have: {detail}. It has {describe_nodes(nodes)}. Lower "
        "gpus=, cpus=, nodes= or resources=; or, if the cluster grows on demand, say so: Ray(autoscaling=True)"
    )


def why_waiting(bundle: Mapping[str, float], count: int) -> str:
    """Return what a run waits for that the cluster has, or may get."""
    return (
        f"waits for {count} node{'s' if count > 1 else ''} with {_amounts(bundle)} free; `ray status` on the cluster "
        "shows what is in use"
    )


def describe_nodes(nodes: Sequence[NodeResources]) -> str:
    """Return the nodes and what they have, in a few words: `2 nodes with CPU 8, GPU 4; 1 node with nothing to rent`."""
    counts: dict[str, int] = {}
    for node in nodes:
        shown = {k: v for k, v in node.total.items() if not k.startswith(_INTERNAL) and k != "memory"}
        words = _amounts(dict(sorted(shown.items()))) or "no cores for jobs"
        counts[words] = counts.get(words, 0) + 1
    if not counts:
        return "no nodes"
    return "; ".join(f"{n} node{'s' if n > 1 else ''} with {words}" for words, n in counts.items())


def _amounts(amounts: Mapping[str, float]) -> str:
    return ", ".join(_amount(name, amount) for name, amount in amounts.items())


def _amount(name: str, amount: float) -> str:
    if name in _UNITS:
        return f"{name} {amount / _UNITS[name]:.1f} GiB"
    return f"{name} {amount:g}"
