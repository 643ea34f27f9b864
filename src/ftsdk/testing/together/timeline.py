"""The stages of a job, one for each poll, decided from the request and the scenario when the job is created."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from ftsdk.testing.together.scenarios import Scenario

__all__ = ["Course", "Stage", "plan_course"]

_Rows = tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of a job."""

    status: str
    events: _Rows = ()
    """Events that are listed from this stage on; their time is set then."""
    metrics: _Rows = ()
    checkpoints: tuple[int, ...] = ()
    """Steps with a checkpoint from this stage on."""
    step: int = 0
    """Steps made so far."""
    fields: tuple[tuple[str, Any], ...] = ()
    """Fields of the job from this stage on."""
    respawns: bool = False
    """Whether the job continues under another id."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """The stages and the numbers of a job."""

    stages: tuple[Stage, ...]
    total_steps: int
    steps_per_epoch: int
    last_step: int
    """The last step: less than `total_steps` if the job fails or stops early."""


def plan_course(body: Mapping[str, Any], scenario: Scenario, *, rows: int, batch: int, tokens: int) -> Course:
    """Plan the stages of a job.

    Args:
        body: The request.
        scenario: The scenario.
        rows: Of the training file. Packing is left out of account: it changes the number of steps only.
        batch: Sequences per optimizer step.
        tokens: That it will be billed for.
    """
    epochs = body.get("n_epochs", 1)
    per_epoch = max(1, math.ceil(rows / batch))
    total = epochs * per_epoch
    evals = _spread(body.get("n_evals") or 0, total) if body.get("validation_file") else ()
    losses = {step: round(2.1 - 0.8 * step / total, 6) for step in evals}
    stopped: list[Stage] = []
    last = total
    if scenario.stops_early and body.get("early_stopping_enabled"):
        last, losses, stopped = _stop_early(body, evals, losses)
    is_cut = scenario.restarts or scenario.ending != "completed"
    if is_cut:
        last = min(last, int(scenario.fails_at * total))
    saved = tuple(step for step in _spread(body.get("n_checkpoints") or 1, total) if step <= last)
    if not is_cut and last not in saved:
        saved = (*saved, last)
    numbers = _Numbers(body=body, total=total, per_epoch=per_epoch, losses=losses, saved=saved)
    stages = [Stage(status="queued")] * scenario.queue_polls
    stages.append(
        Stage(
            status="running",
            events=_opening(body, tokens, total),
            fields=(("token_count", tokens), ("total_steps", total)),
        )
    )
    bounds = sorted(
        {round(last * part / scenario.training_polls) for part in range(1, scenario.training_polls + 1)} - {0}
    )
    stages += [_train(numbers, first, final) for first, final in zip([0, *bounds], bounds, strict=False)]
    if scenario.new_status or scenario.new_event:
        stages.append(_unknown_stage(scenario, last, total))
    if scenario.hangs:
        stages.append(Stage(status="running", step=last))
    else:
        stages += [*stopped, *_ending(scenario, last, total)]
    return Course(stages=tuple(stages), total_steps=total, steps_per_epoch=per_epoch, last_step=last)


@dataclass(frozen=True, kw_only=True)
class _Numbers:
    body: Mapping[str, Any]
    total: int
    per_epoch: int
    losses: Mapping[int, float]
    """Validation loss by step."""
    saved: tuple[int, ...]


def _spread(count: int, total: int) -> tuple[int, ...]:
    """Return so many evenly spaced steps, the last one included."""
    return tuple(sorted({max(1, round(total * number / count)) for number in range(1, count + 1)}))


def _event(kind: str, message: str, *, level: str = "info", **more: Any) -> Mapping[str, Any]:
    return {"object": "fine-tune-event", "type": kind, "message": message, "level": level, **more}


def _opening(body: Mapping[str, Any], tokens: int, total: int) -> _Rows:
    validation = (
        ("validation_data_downloading", "validation_data_download_complete") if body.get("validation_file") else ()
    )
    kinds = ("job_start", "training_data_downloading", "training_data_download_complete", *validation)
    kinds += ("model_downloading", "model_download_complete")
    return (
        *(_event(kind, kind.replace("_", " ").capitalize()) for kind in kinds),
        _event("tokenized_dataset_upload_complete", "Tokenized dataset uploaded", token_count=tokens),
        _event("training_start", "Training started", total_steps=total, step=0),
    )


def _train(numbers: _Numbers, first: int, final: int) -> Stage:
    """Return the stages for the steps after `first` up to `final`."""
    metrics: list[Mapping[str, Any]] = []
    events: list[Mapping[str, Any]] = []
    saved = tuple(step for step in numbers.saved if first < step <= final)
    for step in range(first + 1, final + 1):
        at = {"train/global_step": float(step), "train/epoch": round(step / numbers.per_epoch, 6)}
        loss = round(2 * math.exp(-step / numbers.total), 6)
        rate = _learning_rate(numbers.body, step / numbers.total)
        metrics.append(
            {**at, "train/loss": loss, "train/learning_rate": rate, "train/grad_norm": round(1 / (1 + 0.01 * step), 6)}
        )
        if step in numbers.losses:
            metrics.append({**at, "eval/loss": numbers.losses[step]})
        if step % numbers.per_epoch == 0:
            epoch = step // numbers.per_epoch
            events.append(_event("epoch_complete", f"Epoch {epoch} completed", step=step, total_steps=numbers.total))
        if step in saved:
            events.append(
                _event("checkpoint_save", f"Saved checkpoint at step {step}", step=step, total_steps=numbers.total)
            )
    return Stage(
        status="running",
        metrics=tuple(metrics),
        events=tuple(events),
        checkpoints=saved,
        step=final,
        fields=(("epochs_completed", final // numbers.per_epoch),),
    )


def _learning_rate(body: Mapping[str, Any], share: float) -> float:
    peak = body.get("learning_rate", 1e-5)
    scheduler = cast("dict[str, Any]", body.get("lr_scheduler") or {})
    least = (scheduler.get("lr_scheduler_args") or {}).get("min_lr_ratio") or 0.0
    decay = 1 - share if scheduler.get("lr_scheduler_type") == "linear" else (1 + math.cos(math.pi * share)) / 2
    return peak * (least + (1 - least) * decay)


def _stop_early(
    body: Mapping[str, Any], evals: tuple[int, ...], losses: dict[int, float]
) -> tuple[int, dict[int, float], list[Stage]]:
    """Return validation losses that rise after the first counted evaluations until the patience is used up."""
    warmup, patience = body.get("early_stopping_warmup_evals", 1), body.get("early_stopping_patience", 2)
    best = evals[min(warmup, len(evals) - 1)]
    last = evals[min(warmup + patience, len(evals) - 1)]
    rising = {
        step: losses[best] + 0.05 * (evals.index(step) - evals.index(best)) if step > best else loss
        for step, loss in losses.items()
    }
    kept = {step: round(loss, 6) for step, loss in rising.items() if step <= last}
    event = _event(
        "early_stopped",
        f"Training stopped early at step {last}; the best checkpoint is that of step {best}",
        step=last,
        early_stopping_best_step=best,
        early_stopping_best_metric_value=kept[best],
    )
    fields = (("early_stopped", True), ("early_stopping_best_step", best), ("early_stopping_best_metric", kept[best]))
    return last, kept, [Stage(status="running", events=(event,), step=last, fields=fields)]


def _unknown_stage(scenario: Scenario, step: int, total: int) -> Stage:
    events = (
        (_event(scenario.new_event, "An event that this client doesn't know", step=step, total_steps=total),)
        if scenario.new_event
        else ()
    )
    return Stage(status=scenario.new_status or "running", events=events, step=step)


def _ending(scenario: Scenario, last: int, total: int) -> list[Stage]:
    if scenario.restarts:
        events = (
            _event("job_restarted", "The job was restarted because of an internal error", level="warning", step=last),
            _event("refund", "The job was refunded"),
        )
        return [Stage(status=scenario.old_status, events=events, step=last, respawns=True)]
    if scenario.ending != "completed":
        # There is a word for the user's own error in the client's list, in capitals, and none in the generated one.
        kind = "JOB_USER_ERROR" if scenario.ending == "user_error" else "job_error"
        reason = scenario.reason.format(step=last)
        events = (_event(kind, reason, level="error", step=last), _event("refund", "The job was refunded"))
        return [Stage(status=scenario.ending, events=events, step=last)]
    complete = _event("training_complete", "Training completed", step=last, total_steps=total)
    return [
        Stage(status="compressing", events=(complete, _event("model_compressing", "Compressing the model")), step=last),
        Stage(
            status="uploading",
            events=(
                _event("model_compression_complete", "Model compressed"),
                _event("model_uploading", "Uploading the model"),
            ),
            step=last,
        ),
        Stage(
            status="completed",
            events=(
                _event("model_upload_complete", "Model uploaded"),
                _event("job_complete", "Job completed", step=last, total_steps=total),
            ),
            step=last,
        ),
    ]
