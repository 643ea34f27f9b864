"""The weights of a finished run, in a folder here and as a model."""

from __future__ import annotations

from pathlib import Path

from ftsdk.errors import CorruptArtifactError, RunNotReadyError
from ftsdk.protocol import Artifact, Backend, RunRef
from ftsdk.runfolder.manifest import MANIFEST, verify
from ftsdk.spec import Model

__all__ = ["collect", "tuned_model"]


def collect(backend: Backend, ref: RunRef, into: str | Path | None, *, kept: Path) -> Artifact:
    """Download the weights and check them against their manifest. See `Run.collect`.

    Args:
        backend: Where the run is.
        ref: The run.
        into: An empty or new folder; None means `kept`.
        kept: The run's own folder for weights: what is whole there isn't downloaded again.
    """
    if into is None:
        try:
            manifest = verify(kept)
        except CorruptArtifactError:
            return backend.collect(ref, kept)
        return Artifact(path=kept, kind=manifest["kind"], base=manifest["base"], manifest=manifest)
    folder = Path(into).expanduser()
    if folder.exists() and any(folder.iterdir()) and not (folder / MANIFEST).exists():
        raise RunNotReadyError(
            f"{folder} isn't empty and holds no artifact; pass a new folder, so that no file of yours is overwritten"
        )
    return backend.collect(ref, folder)


def tuned_model(artifact: Artifact, base: Model) -> Model:
    """Return the weights as a model: by themselves, or as an adapter of the base model."""
    return Model(id=str(artifact.path)) if artifact.kind == "model" else base.replace(adapter=str(artifact.path))
