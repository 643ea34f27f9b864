"""Whether a model's traffic has left what it was trained on, from numbers in the records and without the texts."""

from ftsdk.deploy.drift.fingerprint import Fingerprint
from ftsdk.deploy.drift.measures import TextMeasures, measure_texts
from ftsdk.deploy.drift.watch import DriftCheck, DriftLook, DriftWatch

__all__ = ["DriftCheck", "DriftLook", "DriftWatch", "Fingerprint", "TextMeasures", "measure_texts"]
