"""The forms in which training data is published or exported. Each family is a module; `FORMS` is the table of all."""

from ftsdk.data.forms.detection import FORMS, Detection, detect_form
from ftsdk.data.forms.form import Form

__all__ = ["FORMS", "Detection", "Form", "detect_form"]
