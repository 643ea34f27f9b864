"""From a named model to a folder of plain safetensors weights, tokenizer and chat template."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import shutil
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Generator, Iterator
from importlib.util import find_spec
from logging import getLogger
from pathlib import Path
from typing import Any, cast

from ftsdk._home import home
from ftsdk.errors import MissingExtraError, ModelError
from ftsdk.models.hub_cache import check_hub_id, hub_cache
from ftsdk.models.identity import base_name, file_sha256
from ftsdk.models.source import inspect_folder, inspect_model
from ftsdk.spec import Model

__all__ = ["materialize", "quiet_transformers", "unpacked_folder"]

_WANTED = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken")
"""What is fetched from the hub: weights, configs, tokenizers and chat templates. No `*.bin`, `*.pt`, `*.pth`: those are pickles."""

_UNWANTED = ("original/*", "onnx/*", "openvino/*", "consolidated*.safetensors")
"""Second copies of the same weights that some models carry."""

_STALE_S = 24 * 3600
"""A draft folder this old, in seconds, belongs to a process that was killed."""


def materialize(model: Model, cache: Path | None = None, *, on_message: Callable[[str], None] | None = None) -> Path:
    """Give a folder that transformers can load: the folder itself, the hub's download, or a GGUF file unpacked once.

    Args:
        model: The model; its `adapter` is not applied here.
        cache: Where GGUF files are unpacked; None is `models/` in ftsdk's home.
        on_message: Told what takes long, in one sentence each.

    Returns:
        The folder. It is not to be written to.

    Raises:
        ModelError: The model isn't there, isn't whole, isn't safe, or can't be downloaded from here.
        MissingExtraError: Downloading or unpacking needs packages of the extra `local`.
    """
    say: Callable[[str], object] = on_message or (lambda _: None)
    match model.source:
        case "folder":
            inspect_model(model)
            return Path(model.id).expanduser().resolve()
        case "hub":
            return _download(model, say)
        case "gguf":
            return _unpack(model, home() / "models" if cache is None else cache, say)


def unpacked_folder(model: Model, cache: Path | None = None) -> Path | None:
    """Give the folder that a GGUF file was unpacked into, or None if that was not done yet."""
    root = home() / "models" if cache is None else cache
    folder = root / file_sha256(Path(model.id).expanduser(), memory=root)[:16]
    return folder if _is_whole(folder) else None


def _download(model: Model, say: Callable[[str], None]) -> Path:
    check_hub_id(model.id)
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError
    except ImportError as error:
        raise MissingExtraError("local", needed_for=f"downloading {model.id}", missing="huggingface_hub") from error
    facts = inspect_model(model)
    if not facts.at_hand:
        say(f"downloading {model} from the Hugging Face hub")
    patterns = [*_WANTED, *(("*.py",) if model.trust_remote_code else ())]
    fetch = f"hf download {model.id}" + (f" --revision {model.revision}" if model.revision else "")
    try:
        # The cache is named, so that the download and the plan, which reads headers there, look in one place.
        cache = hub_cache()
        folder = Path(snapshot_download(model.id, revision=model.revision, cache_dir=cache, allow_patterns=patterns, ignore_patterns=list(_UNWANTED)))
    except GatedRepoError as error:
        raise ModelError(
            f"{model.id} asks for consent: accept its licence at https://huggingface.co/{model.id}, then log in with `hf auth login`."
        ) from error
    except RevisionNotFoundError as error:
        raise ModelError(f"{model.id} has no revision {model.revision!r}. See https://huggingface.co/{model.id}/commits.") from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"the Hugging Face hub has no model {model.id!r}, or it is private: check the name, or log in with `hf auth login`."
        ) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise ModelError(
            f"{model} isn't on this machine and the Hugging Face hub can't be reached from it (or HF_HUB_OFFLINE is set). "
            f"Where there is a network, run `{fetch}` and copy the folder here as Model('./folder'), or set HF_HUB_CACHE to a cache that has it."
        ) from error
    inspect_folder(folder, model, shown=str(model))
    return folder


def _unpack(model: Model, root: Path, say: Callable[[str], None]) -> Path:
    inspect_model(model)
    source = Path(model.id).expanduser().resolve()
    digest = file_sha256(source, memory=root)
    target = root / digest[:16]
    if _is_whole(target):
        return target
    if find_spec("transformers") is None:
        raise MissingExtraError("local", needed_for=f"unpacking {base_name(model)}", missing="transformers")
    say(f"unpacking {base_name(model)} into bfloat16 safetensors, once")
    with quiet_transformers():
        if _is_whole(target):  # another thread was faster
            return target
        _sweep(root)
        draft = root / f".draft-{uuid.uuid4().hex}"
        draft.mkdir(parents=True)
        try:
            _write_plain(source, draft, base_name(model))
            files = {path.name: path.stat().st_size for path in sorted(draft.iterdir())}
            manifest = {"name": base_name(model), "source_sha256": digest, "dtype": "bfloat16", "files": files}
            (draft / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
            _publish(draft, target)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return target


def _publish(draft: Path, target: Path) -> None:
    """Move a whole folder into place; another process may do the same at the same moment, and either result is good."""
    for _ in range(3):
        try:
            draft.replace(target)
        except OSError:
            if _is_whole(target):
                return
            # Something half-written sits there, which only a meddling hand can cause: set it aside and try again.
            with contextlib.suppress(OSError):
                target.replace(draft.with_name(f".draft-{uuid.uuid4().hex}"))
        else:
            return
    raise ModelError(f"{target} can't be written: something else is in its place. Remove that folder and try again.")


def _is_whole(folder: Path) -> bool:
    try:
        files = cast("dict[str, int]", json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["files"])
        return all((folder / name).stat().st_size == size for name, size in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _sweep(root: Path) -> None:
    for left in root.glob(".draft-*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _STALE_S:
                shutil.rmtree(left, ignore_errors=True)


def _write_plain(source: Path, into: Path, name: str) -> None:
    try:
        import gguf  # pyright: ignore[reportMissingImports]  # transformers reads GGUF files with it
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        raise MissingExtraError("local", needed_for=f"unpacking {name}", missing=error.name) from error
    del gguf
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # this progress bar has no other switch
            loaded: Any = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.bfloat16, **_dequantize())
        tokenizer: Any = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    except (ValueError, KeyError, RuntimeError, OSError, NotImplementedError) as error:
        raise ModelError(f"transformers can't unpack {name}: {error}. Use the model's safetensors instead, by hub id or folder.") from error
    # A model that came from GGUF refuses to be saved or trained: its weights go into a plain twin.
    config = copy.deepcopy(loaded.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    # The twin is built without memory for its weights and takes over the loaded ones: half the peak.
    with torch.device("meta"):
        plain: Any = type(loaded)(config)
    plain.load_state_dict(loaded.state_dict(), assign=True)
    plain.tie_weights()
    plain.to(torch.bfloat16)
    plain.generation_config = loaded.generation_config
    plain.save_pretrained(into)
    tokenizer.save_pretrained(into)


def _dequantize() -> dict[str, Any]:
    """Ask for unpacked weights, where transformers is new enough to have a choice."""
    try:
        from transformers import GgufConfig
    except ImportError:
        return {}
    return {"quantization_config": GgufConfig(dequantize=True)}


_LOADING = threading.RLock()
"""While it loads, transformers changes what torch does for the whole process: two threads at once give models without weights."""


@contextlib.contextmanager
def quiet_transformers() -> Generator[None]:
    """Load one thing at a time, and keep progress bars and warnings out of the user's terminal; things are put back afterwards."""
    with _LOADING:
        yield from _quiet()


def _quiet() -> Iterator[None]:
    from transformers.utils import logging

    had_bars, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    # bitsandbytes, which PEFT imports wherever it is installed, warns of a kernel for 4-bit weights that nobody asked for.
    bitsandbytes = getLogger("bitsandbytes")
    level = bitsandbytes.level
    bitsandbytes.setLevel("ERROR")
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            # PEFT asks transformers 5 by an old name; nobody who loads a model can do anything about it.
            warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
            yield
    finally:
        logging.set_verbosity(verbosity)
        bitsandbytes.setLevel(level)
        if had_bars:
            logging.enable_progress_bar()
