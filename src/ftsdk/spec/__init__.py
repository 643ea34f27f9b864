"""What decides the weights: frozen values, with no IO, no torch and no vendor."""

from ftsdk.spec.base import Value, set_fields
from ftsdk.spec.dataset_ref import DataFormat, DatasetRef
from ftsdk.spec.interval import Range
from ftsdk.spec.job import EarlyStopping, Hyperparameters, JobFields, JobSpec, OptimizerName, default_learning_rate
from ftsdk.spec.method import DPO, KTO, METHODS, ORPO, SFT, AnyMethod, Method, SimPO, TrainOn
from ftsdk.spec.model import Model
from ftsdk.spec.privacy import Privacy
from ftsdk.spec.token_price import TokenPrice
from ftsdk.spec.tuning import (
    IA3,
    TUNINGS,
    AnyLoRA,
    AnyTuning,
    AnyVirtualTokens,
    DoRA,
    FullFineTune,
    LoRA,
    PrefixTuning,
    PromptTuning,
    QLoRA,
    Tuning,
)

__all__ = [
    "DPO",
    "IA3",
    "KTO",
    "METHODS",
    "ORPO",
    "SFT",
    "TUNINGS",
    "AnyLoRA",
    "AnyMethod",
    "AnyTuning",
    "AnyVirtualTokens",
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
    "OptimizerName",
    "PrefixTuning",
    "Privacy",
    "PromptTuning",
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
