"""From the evidence to a diagnosis."""

from __future__ import annotations

from collections.abc import Sequence

from ftsdk.protocol import TERMINAL, Event, Plan, StateEvent
from ftsdk.run.diagnosis.evidence import Evidence, evidence_of, report_in
from ftsdk.run.diagnosis.finding import RunDiagnosis
from ftsdk.run.diagnosis.rules import BLEED, GENERAL, RULES
from ftsdk.run.evaluation import results_folder
from ftsdk.run.record import Record

__all__ = ["diagnose", "diagnose_run"]


def diagnose_run(record: Record, events: Sequence[Event]) -> RunDiagnosis:
    """Diagnose a run from its record, its events, and the evaluation on disk.

    Raises:
        SpecError: The record holds no spec that this version can read.
    """
    folder = results_folder(record.ref) / "evals"
    spec = Plan.from_dict(record.plan).spec
    # The record may be older than the events.
    states = [record.state, *(event.state for event in events if isinstance(event, StateEvent))]
    is_finished = any(state in TERMINAL for state in states)
    evidence = evidence_of(spec, events, report=report_in(folder), folder=folder, is_finished=is_finished)
    return diagnose(evidence, title=f"run {record.ref}")


def diagnose(evidence: Evidence, *, title: str) -> RunDiagnosis:
    """Apply the rules.

    Args:
        evidence: What is known of the run.
        title: What it is about, such as the ref of the run.
    """
    found = [finding for rule in RULES if (finding := rule(evidence)) is not None]
    kinds = {finding.kind for finding in found}
    if "diverging" in kinds or not evidence.is_finished:
        # Everything else follows from it; and a run that goes on has time left.
        found = [finding for finding in found if finding.kind != "loss_not_falling"]
    if {"no_end_of_text", "overfitting"} & kinds:
        # Both explain answers that are worse than the loss promises.
        found = [finding for finding in found if finding.kind != "template_mismatch"]
    return RunDiagnosis(title=title, findings=tuple(found), unknown=tuple(_unknown(evidence)))


def _unknown(evidence: Evidence) -> list[str]:
    lines: list[str] = []
    if not evidence.is_finished:
        lines.append("how the run ends: it hasn't ended yet; diagnose it again when it has (ftsdk watch REF)")
    if len(evidence.training) < 10:
        lines.append(f"whether the loss fell: only {len(evidence.training)} steps reported one")
    if not evidence.validation and evidence.spec.validation is not None:
        lines.append("where overfitting began: no validation loss was reported")
    elif not evidence.validation:
        lines.append("where overfitting began: the job has no validation data (Dataset.split(validation=0.1))")
    if evidence.report is None:
        if evidence.is_finished:
            lines.append("whether the answers are usable: the run wasn't evaluated (run.evaluate())")
        return lines
    names = [score.name for score in evidence.report.scores]
    if not any(name.startswith(GENERAL) for name in names):
        lines.append("whether other abilities were lost: the suite 'general' wasn't evaluated")
    if not any(name.startswith(BLEED) for name in names):
        lines.append("whether unrelated questions are answered in the training format: 'format_bleed' wasn't evaluated")
    return lines
