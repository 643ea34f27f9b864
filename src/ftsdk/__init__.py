"""Fine-tune an open LLM on this machine, on serverless GPUs or on a managed service, by changing one argument.

Every name is loaded on first use: `import ftsdk` is quick, and never loads torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftsdk._lazy import loaded_on_first_use

if TYPE_CHECKING:
    from ftsdk.backends.local import Local
    from ftsdk.backends.modal import Modal
    from ftsdk.backends.together import Together
    from ftsdk.data import Dataset, Splits
    from ftsdk.deploy.deployments import Deployment
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
    from ftsdk.job.job import FineTuneJob
    from ftsdk.protocol import Artifact, Backend, Capabilities, Plan, RunRef, RunState, RunStatus
    from ftsdk.run.listing import runs
    from ftsdk.run.run import Run
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

_EXPORTS = {
    "ftsdk.protocol": ("Artifact", "Backend", "Capabilities", "Plan", "RunRef", "RunState", "RunStatus"),
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
    "ftsdk.job.job": ("FineTuneJob",),
    "ftsdk.run.run": ("Run",),
    "ftsdk.run.listing": ("runs",),
    "ftsdk.deploy.deployments": ("Deployment",),
    "ftsdk.spec": ("DPO", "SFT", "DoRA", "EarlyStopping", "FullFineTune", "LoRA", "Model", "QLoRA"),
}
__getattr__, __dir__ = loaded_on_first_use(__name__, _EXPORTS)
