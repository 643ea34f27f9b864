"""What decides the weights: frozen values, with no IO, no torch and no vendor."""

from ftsdk.spec.base import Value, set_fields
from ftsdk.spec.dataset_ref import DataFormat, DatasetRef
from ftsdk.spec.interval import Range
from ftsdk.spec.job import EarlyStopping, Hyperparameters, JobFields, JobSpec, default_learning_rate
from ftsdk.spec.method import DPO, KTO, METHODS, ORPO, SFT, AnyMethod, Method, SimPO, TrainOn
from ftsdk.spec.model import Model
from ftsdk.spec.privacy import Privacy
from ftsdk.spec.token_price import TokenPrice
from ftsdk.spec.tuning import TUNINGS, AnyLoRA, AnyTuning, DoRA, FullFineTune, LoRA, QLoRA, Tuning

__all__ = [
    "DPO",
    "KTO",
    "METHODS",
    "ORPO",
    "SFT",
    "TUNINGS",
    "AnyLoRA",
    "AnyMethod",
    "AnyTuning",
    "DataFormat",
    "DatasetRef",
    "DoRA",
    "EarlyStopping",
    "FullFineTune",
    "Hyperparameters",
    "JobFields",
    "JobSpec",
    "LoRA",
    "Method",
    "Model",
    "Privacy",
    "QLoRA",
    "Range",
    "SimPO",
    "TokenPrice",
    "TrainOn",
    "Tuning",
    "Value",
    "default_learning_rate",
    "set_fields",
]
