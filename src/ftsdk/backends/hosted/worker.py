"""The worker: the process that trains one run, on any machine.

    python -m ftsdk.backends.hosted.worker RUN_FOLDER

It reads everything from the folder (`run.json`, `data/`), and writes everything to it (`events.jsonl`, `checkpoints/`,
`artifact/`). It may be killed at any moment; when it is started again, it resumes from the newest whole checkpoint. A
lock allows one worker at a time in a folder. For several devices it starts torchrun and waits while the ranks train.
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
from ftsdk.backends.hosted.heartbeat import heartbeat, last_heartbeat
from ftsdk.backends.hosted.log_lines import lines_as_events
from ftsdk.backends.hosted.progress import Progress
from ftsdk.backends.hosted.stop_condition import CANCEL, CANCELLED_BY_USER, StopCondition, is_billed_by_time
from ftsdk.backends.hosted.tracking import tracked
from ftsdk.backends.hosted.trainer import Cancelled, Context, Interrupted, TrainingResult, load_trainer
from ftsdk.errors import CorruptArtifactError
from ftsdk.protocol import TERMINAL, LogEvent, StateEvent, StepEvent
from ftsdk.runfolder.event_log import EventWriter
from ftsdk.runfolder.lock import hold
from ftsdk.runfolder.manifest import MANIFEST, seal, verify

__all__ = ["ARTIFACT", "BLOCKED", "LEFT", "REQUEST", "main", "work"]

REQUEST = "run.json"
BLOCKED = "blocked"
"""The `native` of a run that can't continue until someone acts, because the disk is full."""
LEFT = "interrupted"
"""The `native` of a run whose worker has left before its time was up, to be resumed."""
ARTIFACT = "artifact"
_UNFINISHED = f".{ARTIFACT}.tmp"


def main(argv: list[str] | None = None) -> int:
    """Work on one run folder.

    Returns:
        The exit status: 0 if the run has succeeded or was cancelled, or another worker has it; 1 if it failed, can't
        continue or has to be resumed; 2 for wrong arguments.
    """
    arguments = sys.argv[1:] if argv is None else argv
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m ftsdk.backends.hosted.worker RUN_FOLDER\n")
        return 2
    folder = Path(arguments[0]).resolve()
    with hold(folder) as held:
        return work(folder) if held else 0


def work(folder: Path) -> int:
    """Train the run in `folder`, whose lock the caller holds. However it ends, the event log has the end."""
    with contextlib.closing(EventWriter(folder)) as log:
        if any(isinstance(e, StateEvent) and e.state in TERMINAL for e in log.events[-1:]):
            return 0
        with tracked(folder, log):
            return _work(folder, log)


def _work(folder: Path, log: EventWriter) -> int:
    try:
        _train(folder, log)
    except Cancelled:
        request = json.loads((folder / REQUEST).read_bytes())
        log.append(StopCondition(folder, request, log.reread()).last_event())
    except Interrupted:
        log.reread()
        log.append(
            StateEvent(
                state="queued",
                native=LEFT,
                reason="the worker has saved a checkpoint and left before its time was up; it is resumed from there",
            )
        )
        return 1
    except ranks.RankLost as error:
        log.reread()
        log.append(LogEvent(level="error", message=str(error)))
        return 1
    except Exception as error:  # noqa: BLE001 - whatever it is, the event log must have the run's end
        traceback.print_exc()
        steps = [e.step for e in log.reread() if isinstance(e, StepEvent)]
        diagnosis = diagnose(error, step=steps[-1] if steps else None)
        if diagnosis.kind == "disk_full":
            # Not the training's fault: the run isn't over, and can be resumed once there is space.
            _make_room(folder)
            log.append(StateEvent(state="queued", native=BLOCKED, reason=str(diagnosis)))
        else:
            log.append(StateEvent(state="failed", reason=diagnosis.message, diagnosis=diagnosis._asdict()))
        return 1
    return 0


def _train(folder: Path, log: EventWriter) -> None:
    if (folder / CANCEL).exists():
        log.append(StateEvent(state="cancelled", reason=CANCELLED_BY_USER))
        return
    artifact = folder / ARTIFACT
    if (artifact / MANIFEST).exists():
        with contextlib.suppress(CorruptArtifactError):
            verify(artifact)
            # The previous worker finished, and was killed before it could report that.
            log.append(StateEvent(state="succeeded"))
            return

    request = json.loads((folder / REQUEST).read_bytes())
    if is_billed_by_time(request):
        _log_last_heartbeat(folder, log)
    attempt = 1 + sum(isinstance(e, StateEvent) and e.native.startswith("attempt") for e in log.events)
    resume_from, refused = newest_whole(folder)
    reason = (
        f"resuming from the checkpoint at step {resume_from.name.rpartition('-')[2]}" if resume_from else "starting"
    )
    log.append(StateEvent(state="running", native=f"attempt {attempt}", reason=reason))
    for sentence in refused:
        log.append(LogEvent(level="warning", message=sentence))

    stop = StopCondition(folder, request, log.reread())
    if stop():
        raise Cancelled
    unfinished = folder / _UNFINISHED
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    with heartbeat(folder, is_on=is_billed_by_time(request)):
        training = _trained(folder, request, unfinished, resume_from, log, stop)
        log.append(StateEvent(state="finalizing"))
        _publish(training, request, unfinished, artifact)
    log.append(StateEvent(state="succeeded"))
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)


def _log_last_heartbeat(folder: Path, log: EventWriter) -> None:
    """Log when the previous worker was killed, if it couldn't: its time since the last event was billed, too."""
    died_at, last = last_heartbeat(folder), log.events[-1] if log.events else None
    if last is not None and died_at is not None and died_at > last.at:
        log.append(LogEvent(at=round(died_at, 3), level="warning", message="the worker was killed at about this time"))


def _trained(
    folder: Path,
    request: Mapping[str, Any],
    into: Path,
    resume_from: Path | None,
    log: EventWriter,
    stop: StopCondition,
) -> TrainingResult:
    if request["launch"].get("processes", 1) > 1:
        training = ranks.train(folder, into, resume_from, processes=request["launch"]["processes"])
        log.reread()
        return training
    context = Context(
        folder=folder,
        emit=Progress(log, stop.meter),
        is_cancelled=stop,
        is_interrupted=stop.is_interrupted,
        resume_from=resume_from,
    )
    with lines_as_events(folder, log, is_on=request["launch"].get("log_events", False)):
        return load_trainer(request["trainer"]).train(request["training"], context, into)


def _publish(training: TrainingResult, request: Mapping[str, Any], unfinished: Path, artifact: Path) -> None:
    """Seal the weights, then rename their folder, so that the artifact appears whole or not at all."""
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
    """Remove what is incomplete anyway, so that the reason for the failure can be written to the full disk."""
    for leftover in [folder / _UNFINISHED, *(folder / CHECKPOINTS).glob("*")]:
        if not (leftover / MANIFEST).is_file():
            shutil.rmtree(leftover, ignore_errors=True)


if __name__ == "__main__":
    # The run's files are for this user only.
    os.umask(0o077)
    sys.exit(main())
