"""The worker: the process that trains one run, wherever it is.

    python -m ftsdk.backends.hosted.worker RUN_FOLDER

Everything it needs is in the folder, and everything it says goes there: `run.json` and `data/` in, `events.jsonl`,
`checkpoints/` and `artifact/` out. It may be killed at any moment and started again: it goes on from the newest
whole checkpoint. One worker at a time works on a folder; the lock sees to that. For several devices it starts
torchrun, whose ranks train while it waits.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftsdk.backends.hosted import ranks
from ftsdk.backends.hosted.checkpoints import CHECKPOINTS, newest_whole
from ftsdk.backends.hosted.diagnosis import diagnose
from ftsdk.backends.hosted.heartbeat import last_beat, pulse
from ftsdk.backends.hosted.log_lines import lines_as_events
from ftsdk.backends.hosted.progress import Progress
from ftsdk.backends.hosted.stop_condition import AS_ASKED, CANCEL, Stop, has_price
from ftsdk.backends.hosted.tracking import tracked
from ftsdk.backends.hosted.trainer import Cancelled, Context, Training, load_trainer
from ftsdk.errors import CorruptArtifactError
from ftsdk.protocol import StateEvent, StepEvent
from ftsdk.runfolder.event_log import EventWriter
from ftsdk.runfolder.lock import hold
from ftsdk.runfolder.manifest import MANIFEST, seal, verify

__all__ = ["ARTIFACT", "BLOCKED", "REQUEST", "main", "work"]

REQUEST = "run.json"
BLOCKED = "blocked"
"""Native word of a run that stands still until a person acts: the disk is full."""
ARTIFACT = "artifact"
_UNFINISHED = f".{ARTIFACT}.tmp"


def main(argv: list[str] | None = None) -> int:
    """Work on one run folder. The exit status is 0 if the run is over and well, or isn't ours to work on."""
    arguments = sys.argv[1:] if argv is None else argv
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m ftsdk.backends.hosted.worker RUN_FOLDER\n")
        return 2
    folder = Path(arguments[0]).resolve()
    with hold(folder) as held:
        return work(folder) if held else 0


def work(folder: Path) -> int:
    """Train the run in `folder`, whose lock the caller holds. Every end is written to the event log."""
    with contextlib.closing(EventWriter(folder)) as log:
        if any(isinstance(e, StateEvent) and e.state in ("succeeded", "failed", "cancelled") for e in log.events[-1:]):
            return 0
        with tracked(folder, log):
            return _work(folder, log)


def _work(folder: Path, log: EventWriter) -> int:
    try:
        _train(folder, log)
    except Cancelled:
        request = json.loads((folder / REQUEST).read_bytes())
        log.append("state", Stop(folder, request, log.reread()).ending())
    except ranks.RankLost as error:
        log.reread()
        log.append("log", {"level": "error", "message": str(error)})
        return 1
    except Exception as error:  # noqa: BLE001 - whatever it is, the run must say how it ended
        traceback.print_exc()
        steps = [e.step for e in log.reread() if isinstance(e, StepEvent)]
        diagnosis = diagnose(error, step=steps[-1] if steps else None)
        if diagnosis.kind == "disk_full":
            # The place's fault, not the training's: the run isn't over, it waits for somebody to make room.
            _make_room(folder)
            log.append("state", {"state": "queued", "native": BLOCKED, "reason": str(diagnosis)})
        else:
            log.append("state", {"state": "failed", "reason": diagnosis.message, "diagnosis": diagnosis._asdict()})
        return 1
    return 0


def _train(folder: Path, log: EventWriter) -> None:
    if (folder / CANCEL).exists():
        log.append("state", AS_ASKED)
        return
    artifact = folder / ARTIFACT
    if (artifact / MANIFEST).exists():
        with contextlib.suppress(CorruptArtifactError):
            verify(artifact)
            # The worker before this one finished, and died before it could say so.
            log.append("state", {"state": "succeeded"})
            return

    request = json.loads((folder / REQUEST).read_bytes())
    if has_price(request):
        _say_when_the_last_one_died(folder, log)
    attempt = 1 + sum(isinstance(e, StateEvent) and e.native.startswith("attempt") for e in log.events)
    resume_from, refused = newest_whole(folder)
    going_on = (
        f"going on from the checkpoint of step {resume_from.name.rpartition('-')[2]}" if resume_from else "starting"
    )
    log.append("state", {"state": "running", "native": f"attempt {attempt}", "reason": going_on})
    for sentence in refused:
        log.append("log", {"level": "warning", "message": sentence})

    stop = Stop(folder, request, log.reread())
    if stop():
        raise Cancelled
    unfinished = folder / _UNFINISHED
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    with pulse(folder, is_on=has_price(request)):
        training = _trained(folder, request, unfinished, resume_from, log, stop)
        log.append("state", {"state": "finalizing"})
        _publish(training, request, unfinished, artifact)
    log.append("state", {"state": "succeeded"})
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)


def _say_when_the_last_one_died(folder: Path, log: EventWriter) -> None:
    """Write down how long a worker lived that was killed without a word: that time was paid for, too."""
    died_at, last = last_beat(folder), log.events[-1] if log.events else None
    if last is not None and died_at is not None and died_at > last.at:
        log.append(
            "log", {"at": round(died_at, 3), "level": "warning", "message": "the worker was killed at about this time"}
        )


def _trained(
    folder: Path, request: Mapping[str, Any], into: Path, resume_from: Path | None, log: EventWriter, stop: Stop
) -> Training:
    if request["launch"].get("processes", 1) > 1:
        training = ranks.train(folder, into, resume_from, processes=request["launch"]["processes"])
        log.reread()
        return training
    context = Context(folder=folder, emit=Progress(log), is_cancelled=stop, resume_from=resume_from)
    with lines_as_events(folder, log, is_on=request["launch"].get("log_events", False)):
        return load_trainer(request["trainer"]).train(request["training"], context, into)


def _publish(training: Training, request: Mapping[str, Any], unfinished: Path, artifact: Path) -> None:
    """Seal the weights, then move them into place: the artifact appears whole or not at all."""
    seal(
        unfinished,
        {
            "kind": training.kind,
            "base": training.base,
            "trainer": request["trainer"],
            "spec": request["spec"],
            "training": request["training"],
            "info": dict(training.info),
        },
    )
    shutil.rmtree(artifact, ignore_errors=True)
    unfinished.replace(artifact)


def _make_room(folder: Path) -> None:
    """Throw away what is torn anyway, so that the reason of the failure can be written to the full disk."""
    for leftover in [folder / _UNFINISHED, *(folder / CHECKPOINTS).glob("*")]:
        if not (leftover / MANIFEST).is_file():
            shutil.rmtree(leftover, ignore_errors=True)


if __name__ == "__main__":
    # A worker that is started from a shell must not be ended by the next Ctrl-C there; it has a session of its own.
    os.umask(0o077)
    sys.exit(main())
