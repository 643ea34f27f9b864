"""What is wrong with texts by rule: each rule has a name, a reason, and the clean step that fixes it."""

from ftsdk.data.quality.encoding import repair
from ftsdk.data.quality.label_errors import LabelIssue, label_issues
from ftsdk.data.quality.label_samples import label_sample
from ftsdk.data.quality.labels import ClassBalance, class_balance, normal_labels
from ftsdk.data.quality.languages import Languages, languages
from ftsdk.data.quality.outliers import broken_json, cut_off, unusual_lengths
from ftsdk.data.quality.roles import wrong_roles
from ftsdk.data.quality.rule import RULES, Rule
from ftsdk.data.quality.text_rules import check_texts

__all__ = [
    "RULES",
    "ClassBalance",
    "LabelIssue",
    "Languages",
    "Rule",
    "broken_json",
    "check_texts",
    "class_balance",
    "cut_off",
    "label_issues",
    "label_sample",
    "languages",
    "normal_labels",
    "repair",
    "unusual_lengths",
    "wrong_roles",
]
