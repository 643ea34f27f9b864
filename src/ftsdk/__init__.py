"""Fine-tune an open LLM on this machine, on serverless GPUs or on a managed service, by changing one argument.

Every name is loaded on first use: `import ftsdk` is quick, and never loads torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftsdk.first_use import loaded_on_first_use

if TYPE_CHECKING:
    from ftsdk.backends.base import Artifact, Backend, Capabilities, Plan, RunRef, RunState, RunStatus
    from ftsdk.backends.local import Local
    from ftsdk.backends.modal import Modal
    from ftsdk.backends.together import Together
    from ftsdk.data import Dataset, Splits
    from ftsdk.errors import (
        BackendError,
        BudgetExceededError,
        CorruptArtifactError,
        CredentialsError,
        DatasetError,
        Diagnosis,
        FtsdkError,
        Gap,
        MissingExtraError,
        ModelError,
        RunFailedError,
        RunNotFoundError,
        RunNotReadyError,
        SpecError,
        UnsupportedSpecError,
    )
    from ftsdk.evals import Endpoint, Eval, EvalReport
    from ftsdk.job import FineTuneJob
    from ftsdk.run import Run
    from ftsdk.run_list import runs
    from ftsdk.serving import Deployment
    from ftsdk.spec import DPO, SFT, DoRA, EarlyStopping, FullFineTune, LoRA, Model, QLoRA

__version__ = "0.1.0"

__all__ = [
    "DPO",
    "SFT",
    "Artifact",
    "Backend",
    "BackendError",
    "BudgetExceededError",
    "Capabilities",
    "CorruptArtifactError",
    "CredentialsError",
    "Dataset",
    "DatasetError",
    "Deployment",
    "Diagnosis",
    "DoRA",
    "EarlyStopping",
    "Endpoint",
    "Eval",
    "EvalReport",
    "FineTuneJob",
    "FtsdkError",
    "FullFineTune",
    "Gap",
    "LoRA",
    "Local",
    "MissingExtraError",
    "Modal",
    "Model",
    "ModelError",
    "Plan",
    "QLoRA",
    "Run",
    "RunFailedError",
    "RunNotFoundError",
    "RunNotReadyError",
    "RunRef",
    "RunState",
    "RunStatus",
    "SpecError",
    "Splits",
    "Together",
    "UnsupportedSpecError",
    "__version__",
    "runs",
]

_ROOMS = {
    "ftsdk.backends.base": ("Artifact", "Backend", "Capabilities", "Plan", "RunRef", "RunState", "RunStatus"),
    "ftsdk.backends.local": ("Local",),
    "ftsdk.backends.modal": ("Modal",),
    "ftsdk.backends.together": ("Together",),
    "ftsdk.data": ("Dataset", "Splits"),
    "ftsdk.errors": (
        "BackendError",
        "BudgetExceededError",
        "CorruptArtifactError",
        "CredentialsError",
        "DatasetError",
        "Diagnosis",
        "FtsdkError",
        "Gap",
        "MissingExtraError",
        "ModelError",
        "RunFailedError",
        "RunNotFoundError",
        "RunNotReadyError",
        "SpecError",
        "UnsupportedSpecError",
    ),
    "ftsdk.evals": ("Endpoint", "Eval", "EvalReport"),
    "ftsdk.job": ("FineTuneJob",),
    "ftsdk.run": ("Run",),
    "ftsdk.run_list": ("runs",),
    "ftsdk.serving": ("Deployment",),
    "ftsdk.spec": ("DPO", "SFT", "DoRA", "EarlyStopping", "FullFineTune", "LoRA", "Model", "QLoRA"),
}
__getattr__, __dir__ = loaded_on_first_use(__name__, _ROOMS)
