"""The function that Modal calls in a container: the runner, registered with everything that the launch request says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftsdk._home import home
from ftsdk.backends.launchers.modal import runner
from ftsdk.backends.launchers.modal.image import metadata_folder

__all__ = ["FUNCTION", "register_function"]

FUNCTION = "train"
"""Its name in the app."""
_RUNS_MOUNT = "/ftsdk"
"""Where the Volume with the runs is mounted in a container."""
_CACHE_MOUNT = "/ftsdk-cache"
"""Where the Volume with downloaded and unpacked models is mounted."""
_CACHE_VOLUME = "ftsdk-cache"


def register_function(modal: Any, app: Any, request: Mapping[str, Any], *, environment: str | None) -> Any:
    """Register the runner in an app, as a launch request describes it, and return the function."""
    gpu = request["gpu"]
    nodes = request["nodes"]
    volumes = {
        _RUNS_MOUNT: modal.Volume.from_name(request["volume"], environment_name=environment),
        _CACHE_MOUNT: modal.Volume.from_name(
            _CACHE_VOLUME, environment_name=environment, create_if_missing=True, version=2
        ),
    }
    # Request and limit are the same, so that the bill is known beforehand.
    cores, mebibytes = request["cpu"], request["memory_mib"]
    decorate = app.function(
        image=_image(modal, request["image"]),
        name=FUNCTION,
        gpu=None if gpu is None else gpu[0] if len(gpu) == 1 else list(gpu),
        cpu=(cores, cores),
        memory=(mebibytes, mebibytes),
        region=request["region"],
        timeout=request["timeout_s"],
        startup_timeout=request["startup_timeout_s"],
        retries=modal.Retries(max_retries=request["max_attempts"] - 1, initial_delay=0.0),
        # A retry starts in a fresh process, without the memory of the attempt before.
        single_use_containers=True,
        max_containers=nodes,
        volumes=volumes,
        secrets=[modal.Secret.from_name(request["secret"], environment_name=environment)] if request["secret"] else [],
        env={
            runner.RUNS: f"{_RUNS_MOUNT}/runs",
            "HF_HOME": f"{_CACHE_MOUNT}/huggingface",
            "FTSDK_HOME": f"{_CACHE_MOUNT}/ftsdk",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "TOKENIZERS_PARALLELISM": "false",
        },
        include_source=False,
    )
    function = runner.run if nodes == 1 else modal.clustered(size=nodes)(runner.run)
    return decorate(function)


def _image(modal: Any, recipe: Mapping[str, Any]) -> Any:
    image = modal.Image.debian_slim(python_version=recipe["python"]).uv_pip_install(*recipe["packages"])
    if recipe["source"]:
        image = image.add_local_python_source("ftsdk")
        image = image.add_local_dir(*metadata_folder(home() / "modal"))
    return image
