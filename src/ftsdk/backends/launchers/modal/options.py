"""The arguments of `Modal(...)`, and which of them Modal doesn't offer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ftsdk.backends.launchers.modal.gpus import CPU_ONLY, Book, GpuChoice
from ftsdk.errors import Gap
from ftsdk.spec.amounts import check_amount

__all__ = ["Options", "option_gaps"]

_REGION = re.compile(r"[a-z]{2}(-[a-z0-9]+)*\Z")
"""How Modal writes regions. Which ones exist changes, so they aren't listed here."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """The arguments of `Modal(...)`; where they are None, the plan decides and says what it chose."""

    gpu: str | Sequence[str] | None = None
    cpu: float | None = None
    memory_gib: float | None = None
    region: str | None = None
    timeout_s: int | None = None
    max_attempts: int | None = None
    nodes: int = 1
    environment: str | None = None
    volume: str = "ftsdk"
    secret: str | None = None

    def __post_init__(self) -> None:
        for name, is_whole in (
            ("cpu", False),
            ("memory_gib", False),
            ("timeout_s", True),
            ("max_attempts", True),
            ("nodes", True),
        ):
            value = getattr(self, name)
            if value is not None:  # what Modal offers is held against it by the plan
                check_amount(name, value, at_least=0, is_whole=is_whole)


def option_gaps(options: Options, choices: Sequence[GpuChoice], book: Book) -> list[Gap]:
    """Return the options that Modal doesn't offer; `choices` are the GPUs that the options came to."""
    gaps: list[Gap] = []
    timeout, attempts, nodes = options.timeout_s, options.max_attempts, options.nodes
    if timeout is not None and not 1 <= timeout <= book.max_timeout_s:
        nearest = 1 if timeout < 1 else book.max_timeout_s
        gaps.append(
            Gap(
                "backend.timeout_s",
                timeout,
                (nearest,),
                "Modal allows an attempt 1 s to 24 h; for more time use more attempts: max_attempts=",
            )
        )
    if attempts is not None and not 1 <= attempts <= book.max_retries + 1:
        gaps.append(
            Gap(
                "backend.max_attempts",
                attempts,
                (max(1, min(attempts, book.max_retries + 1)),),
                f"Modal retries at most {book.max_retries} times",
            )
        )
    if not 1 <= nodes <= book.max_nodes:
        gaps.append(
            Gap(
                "backend.nodes",
                nodes,
                (max(1, min(nodes, book.max_nodes)),),
                f"a cluster has 1 to {book.max_nodes} hosts",
            )
        )
    elif nodes > 1:
        if options.gpu == CPU_ONLY:
            gaps.append(Gap("backend.nodes", nodes, (1,), "Modal has no clusters without GPUs"))
        elif len(choices) > 1:
            gaps.append(
                Gap(
                    "backend.gpu",
                    [str(c) for c in choices],
                    (str(choices[0]),),
                    "a cluster has one kind of GPU",
                )
            )
        for choice in choices:
            if choice.count != choice.gpu.host_count:
                whole = GpuChoice(gpu=choice.gpu, count=choice.gpu.host_count)
                gaps.append(
                    Gap(
                        "backend.gpu",
                        str(choice),
                        (str(whole),),
                        f"nodes={nodes} uses whole hosts, which have {choice.gpu.host_count} GPUs each",
                    )
                )
    if options.region is not None and not _REGION.match(options.region):
        reason = (
            "a region has two letters, or two letters and a part, as in us-west; for a list see "
            "https://modal.com/docs/guide/region-selection"
        )
        gaps.append(Gap("backend.region", options.region, ("us", "us-west"), reason))
    for name, value in (("cpu", options.cpu), ("memory_gib", options.memory_gib)):
        if value is not None and value < 0.125:
            gaps.append(Gap(f"backend.{name}", value, (0.125,), "Modal's minimum"))
    return gaps
