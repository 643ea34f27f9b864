"""What went wrong in a run that ended well, and the one change to try next: `Run.diagnose`."""

from ftsdk.run.diagnosis.diagnose import diagnose, diagnose_run
from ftsdk.run.diagnosis.evidence import Evidence, evidence_of
from ftsdk.run.diagnosis.finding import Finding, FindingKind, RunDiagnosis

__all__ = ["Evidence", "Finding", "FindingKind", "RunDiagnosis", "diagnose", "diagnose_run", "evidence_of"]
