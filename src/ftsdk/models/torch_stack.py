"""torch, transformers and PEFT: imported late, by one thread at a time, and kept quiet while they load."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Generator
from logging import getLogger

from ftsdk.errors import FtsdkError, MissingExtraError, ModelError

__all__ = ["late_imports", "loading_errors", "quiet_transformers"]

_LOCK = threading.RLock()
"""transformers isn't safe to import or to load with from two threads at once: the one that comes second meets a package
that is only half there, and while a model loads, what torch does is changed for the whole process."""

_MAX_ERROR = 1000
"""Characters of a library's own message that an error of ours repeats; some print a whole file."""


@contextlib.contextmanager
def late_imports(needed_for: str) -> Generator[None]:
    """Import packages of the extra `local` inside this block, one thread at a time; a failure is a `MissingExtraError`.

    Args:
        needed_for: What they are needed for, as the start of the error's sentence: `"loading a model"`.

    Raises:
        MissingExtraError: A package isn't installed, or is too old or broken; the cause says which.
    """
    with _LOCK:
        try:
            yield
        except ImportError as error:
            missing = error.name if isinstance(error, ModuleNotFoundError) else None
            raise MissingExtraError("local", needed_for=needed_for, missing=missing) from error


@contextlib.contextmanager
def loading_errors(what: str, advice: str = "Copy or download it again.") -> Generator[None]:
    """Turn every failure of the libraries that load files of a model inside this block into a `ModelError`.

    The files are untrusted, and transformers, huggingface_hub, tokenizers, safetensors and PEFT have dozens of ways to
    fail on them; what failed is the error's cause.

    Args:
        what: The start of the error's sentence: `"the tokenizer of ... can't be loaded"`.
        advice: What to do next, as a sentence.

    Raises:
        ModelError: Something failed.
    """
    try:
        yield
    except FtsdkError:
        raise
    except BaseException as error:
        # Libraries in Rust panic on damaged files with a class that is no Exception, and that no module exports.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        text = " ".join(str(error).split()) or type(error).__name__
        if len(text) > _MAX_ERROR:
            text = f"{text[:_MAX_ERROR]}..."
        raise ModelError(f"{what}: {text.removesuffix('.')}. {advice}") from error


@contextlib.contextmanager
def quiet_transformers() -> Generator[None]:
    """Load one model at a time, without progress bars and warnings; the settings are restored afterwards."""
    with _LOCK:
        from transformers.utils import logging

        had_bars, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
        # PEFT imports bitsandbytes wherever it is installed, which warns about a 4-bit kernel that isn't in use.
        bitsandbytes = getLogger("bitsandbytes")
        level = bitsandbytes.level
        bitsandbytes.setLevel("ERROR")
        logging.disable_progress_bar()
        logging.set_verbosity_error()
        try:
            with warnings.catch_warnings():
                # PEFT uses a name that transformers 5 has deprecated; users can do nothing about it.
                warnings.filterwarnings(
                    "ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning
                )
                yield
        finally:
            logging.set_verbosity(verbosity)
            bitsandbytes.setLevel(level)
            if had_bars:
                logging.enable_progress_bar()
