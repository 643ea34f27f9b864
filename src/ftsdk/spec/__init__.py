"""WHAT decides the weights: frozen values, with no IO, no torch and no vendor."""

from ftsdk.spec.base import Value, set_fields
from ftsdk.spec.dataset_ref import DataFormat, DatasetRef
from ftsdk.spec.interval import Range
from ftsdk.spec.job import EarlyStopping, Hyperparameters, JobSpec, default_learning_rate
from ftsdk.spec.method import DPO, SFT, Method, TrainOn
from ftsdk.spec.model import Model
from ftsdk.spec.tuning import AnyLoRA, DoRA, FullFineTune, LoRA, QLoRA, Tuning

__all__ = [
    "DPO",
    "SFT",
    "AnyLoRA",
    "DataFormat",
    "DatasetRef",
    "DoRA",
    "EarlyStopping",
    "FullFineTune",
    "Hyperparameters",
    "JobSpec",
    "LoRA",
    "Method",
    "Model",
    "QLoRA",
    "Range",
    "TrainOn",
    "Tuning",
    "Value",
    "default_learning_rate",
    "set_fields",
]
