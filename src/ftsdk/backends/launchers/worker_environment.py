"""The environment of a worker on this machine: what training needs, and no keys of anything else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

__all__ = ["worker_environment"]

_NAMES = frozenset(
    {
        *("HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH", "SHELL", "TERM", "TZ", "USER"),
        *("TEMP", "TMP", "TMPDIR"),
        *("CONDA_PREFIX", "LD_LIBRARY_PATH", "LD_PRELOAD", "VIRTUAL_ENV"),
        *("ALL_PROXY", "FTP_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
        *("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE"),
        # The older names of HF_TOKEN and HF_HUB_CACHE.
        *("HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_CACHE"),
        *("CC", "CXX", "GLIBC_TUNABLES", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"),
    }
)
"""Compared in upper case: proxies are written in either."""
_PREFIXES = (
    *("DYLD_", "LC_", "MALLOC_", "PYTHON", "XDG_"),
    *("ACCELERATE_", "BITSANDBYTES_", "BNB_", "DATASETS_", "HF_", "SAFETENSORS_", "TOKENIZERS_", "TRANSFORMERS_"),
    *("PYTORCH_", "TORCH", "TRITON_"),
    *("CUBLAS_", "CUDA_", "CUDNN_", "GLOO_", "HIP_", "HSA_", "MIOPEN_", "NCCL_", "NVIDIA_", "ROCM_", "ROCR_"),
    *("GOMP_", "KMP_", "MKL_", "NUMEXPR_", "OMP_", "OPENBLAS_"),
    "FTSDK_",
)
"""Of HF_TOKEN, too: the worker loads gated models."""


def worker_environment(
    environment: Mapping[str, str], *, parts: Iterable[str] = (), names: Iterable[str] = ()
) -> dict[str, str]:
    """Return the part of an environment that a worker gets.

    Args:
        environment: That of this process.
        parts: Names of the trackers and of the trainer: `wandb` gets every variable that begins with `WANDB_`.
        names: Further variables; those that aren't set are left out.
    """
    prefixes = (*_PREFIXES, *(f"{part.upper().replace('-', '_')}_" for part in parts))
    wanted = frozenset(names)
    return {
        name: value
        for name, value in environment.items()
        if name in wanted or name.upper() in _NAMES or name.upper().startswith(prefixes)
    }
