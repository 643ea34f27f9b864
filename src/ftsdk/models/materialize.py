"""From a named model to a folder with safetensors weights, tokenizer and chat template."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import shutil
import time
import uuid
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, assert_never, cast

from ftsdk._home import home
from ftsdk.errors import MissingExtraError, ModelError
from ftsdk.models.added_tokens import key_of_copy, write_with_tokens
from ftsdk.models.hub_cache import check_hub_id, hub_cache, hub_cause
from ftsdk.models.identity import base_name, file_sha256, model_identity
from ftsdk.models.source import check_stated_sizes, inspect_folder, inspect_model
from ftsdk.models.torch_stack import late_imports, loading_errors, quiet_transformers
from ftsdk.spec import Model

__all__ = ["base_folder", "materialize"]

_WANTED = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken")
"""What is downloaded from the hub: weights, configs, tokenizers and chat templates. No pickles."""

_UNWANTED = ("original/*", "onnx/*", "openvino/*", "consolidated*.safetensors")
"""Duplicates of the same weights in other formats."""

_STALE_S = 24 * 3600
"""A draft folder this old, in seconds, belongs to a process that was killed."""


def materialize(model: Model, cache: Path | None = None, *, on_message: Callable[[str], None] | None = None) -> Path:
    """Return a folder that transformers can load: the folder itself, the hub's download, or a GGUF file unpacked once.

    Args:
        model: The model; its `adapter` is not applied here.
        cache: Where GGUF files are unpacked; None is `models/` in ftsdk's home.
        on_message: Called with one sentence before each slow step.

    Returns:
        The folder. Don't write to it.

    Raises:
        ModelError: The model is missing, incomplete or unsafe, or can't be downloaded from here.
        MissingExtraError: Downloading or unpacking needs packages of the extra `local`.
    """
    report: Callable[[str], object] = on_message or (lambda _: None)
    root = home() / "models" if cache is None else cache
    folder = _plain(model, root, report)
    return folder if model.add_tokens is None else _with_tokens(model, model.add_tokens, folder, root, report)


def _plain(model: Model, root: Path, report: Callable[[str], object]) -> Path:
    match model.source:
        case "folder":
            inspect_model(model)
            return Path(model.id).expanduser().resolve()
        case "hub":
            return _download(model, report)
        case "gguf":
            return _unpack(model, root, report)
        case _:
            assert_never(model.source)


def _with_tokens(
    model: Model, tokens: tuple[str, ...], source: Path, root: Path, report: Callable[[str], object]
) -> Path:
    """Return a copy of the model with more tokens, which is made once."""
    name = base_name(model)
    if model.trust_remote_code:
        raise ModelError(
            f"{name} has code of its own, and the embedding of such a model isn't resized: add_tokens=None"
        )
    target = root / key_of_copy(model_identity(Model(id=model.id, revision=model.revision)), tokens)
    if _is_whole(target):
        return target
    report(f"adding {len(tokens)} tokens to a copy of {name}, once")
    with quiet_transformers():
        _write_once(
            target,
            root,
            lambda draft: {"name": name, "added_tokens": write_with_tokens(source, draft, tokens, name=name)},
        )
    return target


def _write_once(target: Path, root: Path, write: Callable[[Path], dict[str, Any]]) -> None:
    """Write a folder beside its place and move it there once it is whole; `write` returns what its manifest states."""
    if _is_whole(target):  # another thread was faster
        return
    _remove_stale_drafts(root)
    draft = root / f".draft-{uuid.uuid4().hex}"
    draft.mkdir(parents=True)
    try:
        stated = write(draft)
        files = {path.name: path.stat().st_size for path in sorted(draft.iterdir())}
        (draft / "manifest.json").write_text(json.dumps({**stated, "files": files}, indent=1), encoding="utf-8")
        _publish(draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def base_folder(model: Model) -> Path | None:
    """Return where this machine has the base of an adapter: the model's folder, or the folder of unpacked GGUF files.

    A GGUF file is unpacked into a folder in the latter, whose name depends on the file's content alone, so it has the
    same name on every machine. None for a hub model, which is named by its id.
    """
    match model.source:
        case "folder":
            return Path(model.id).expanduser().resolve()
        case "gguf":
            return (home() / "models").resolve()
        case "hub":
            return None
        case _:
            assert_never(model.source)


def _download(model: Model, report: Callable[[str], object]) -> Path:
    check_hub_id(model.id)
    with late_imports(f"downloading {model.id}"):
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import (
            GatedRepoError,
            HfHubHTTPError,
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )
    facts = inspect_model(model)
    if not facts.is_downloaded:
        report(f"downloading {model} from the Hugging Face hub")
    patterns = [*_WANTED, *(("*.py",) if model.trust_remote_code else ())]
    fetch = f"hf download {model.id}" + (f" --revision {model.revision}" if model.revision else "")
    try:
        # An explicit cache, so that the download and the plan, which reads headers there, use the same folder.
        cache = hub_cache()
        folder = Path(
            snapshot_download(
                model.id,
                revision=model.revision,
                cache_dir=cache,
                allow_patterns=patterns,
                ignore_patterns=list(_UNWANTED),
            )
        )
    except GatedRepoError as error:
        raise ModelError(
            f"{model.id} is gated: accept its licence at https://huggingface.co/{model.id}, then log in with `hf auth "
            "login`."
        ) from hub_cause(error)
    except RevisionNotFoundError as error:
        raise ModelError(
            f"{model.id} has no revision {model.revision!r}. See https://huggingface.co/{model.id}/commits."
        ) from hub_cause(error)
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"the Hugging Face hub has no model {model.id!r}, or it is private: check the name, or log in with `hf "
            f"auth login`. {_folder_hint(model)}".rstrip()
        ) from hub_cause(error)
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise ModelError(
            f"{model} isn't on this machine and the Hugging Face hub can't be reached from it (or HF_HUB_OFFLINE is "
            f"set). {_folder_hint(model)}"
            f"Where there is a network, run `{fetch}` and copy the folder here as Model('./folder'), or set "
            "HF_HUB_CACHE to a cache that has it."
        ) from hub_cause(error)
    inspect_folder(folder, model, shown=str(model))
    return folder


def _folder_hint(model: Model) -> str:
    """Return how to name a local folder, where one has the name that was taken for a hub id."""
    return f"To use the folder {model.id!r} here, write './{model.id}'. " if Path(model.id).is_dir() else ""


def _unpack(model: Model, root: Path, report: Callable[[str], object]) -> Path:
    inspect_model(model)
    source = Path(model.id).expanduser().resolve()
    digest = file_sha256(source, cache=root)
    target = root / digest[:16]
    if _is_whole(target):
        return target
    if find_spec("transformers") is None:
        raise MissingExtraError("local", needed_for=f"unpacking {base_name(model)}", missing="transformers")
    check_stated_sizes(source, shown=base_name(model))
    report(f"unpacking {base_name(model)} into bfloat16 safetensors, once")

    def write(draft: Path) -> dict[str, Any]:
        _write_plain(source, draft, base_name(model))
        return {"name": base_name(model), "source_sha256": digest, "dtype": "bfloat16"}

    with quiet_transformers():
        _write_once(target, root, write)
    return target


def _publish(draft: Path, target: Path) -> None:
    """Move a complete folder into place; another process may do so at the same time, and either result is good."""
    for _ in range(3):
        try:
            draft.replace(target)
        except OSError:
            if _is_whole(target):
                return
            # An incomplete folder is there, which ftsdk never writes: set it aside and try again.
            with contextlib.suppress(OSError):
                target.replace(draft.with_name(f".draft-{uuid.uuid4().hex}"))
        else:
            return
    raise ModelError(f"{target} can't be written: another folder is in its place. Remove it and try again.")


def _is_whole(folder: Path) -> bool:
    try:
        files = cast("dict[str, int]", json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["files"])
        return all((folder / name).stat().st_size == size for name, size in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _remove_stale_drafts(root: Path) -> None:
    for left in root.glob(".draft-*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _STALE_S:
                shutil.rmtree(left, ignore_errors=True)


def _write_plain(source: Path, into: Path, name: str) -> None:
    with late_imports(f"unpacking {name}"):
        import gguf  # pyright: ignore[reportMissingImports]  # transformers reads GGUF files with it
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
    del gguf
    advice = "Use the model's safetensors instead, by hub id or folder."
    with loading_errors(f"transformers can't unpack {name}", advice):
        with contextlib.redirect_stderr(io.StringIO()):  # the only way to silence this progress bar
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                source.parent, gguf_file=source.name, dtype=torch.bfloat16, **_dequantize()
            )
        tokenizer: Any = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
        # A model loaded from GGUF can't be saved or trained: move its weights into a plain one.
        config = copy.deepcopy(loaded.config)
        if hasattr(config, "quantization_config"):
            del config.quantization_config
        # The plain model is built without memory and takes over the loaded weights, which halves the peak.
        with torch.device("meta"):
            plain: Any = type(loaded)(config)
        plain.load_state_dict(loaded.state_dict(), assign=True)
        plain.tie_weights()
        plain.to(torch.bfloat16)
        plain.generation_config = loaded.generation_config
    with loading_errors(f"the unpacked {name} can't be saved in {into.parent}", "Check that the disk has space."):
        plain.save_pretrained(into)
        tokenizer.save_pretrained(into)


def _dequantize() -> dict[str, Any]:
    """Return the option that unpacks the weights, for versions of transformers that have it."""
    try:
        from transformers import GgufConfig
    except ImportError:
        return {}
    return {"quantization_config": GgufConfig(dequantize=True)}
