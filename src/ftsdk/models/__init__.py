"""From a named `Model` to its facts, its files and its loaded weights. Importing this package loads no torch."""

from ftsdk.models.adapter_files import has_own_embeddings, has_unlisted_embeddings
from ftsdk.models.added_tokens import added_token_ids
from ftsdk.models.folder_files import read_json
from ftsdk.models.identity import base_name, model_identity
from ftsdk.models.loading import (
    embedding_rows_of,
    eos_token_ids,
    load_model,
    load_tokenizer,
    max_length_of,
    pick_device,
    pick_dtype,
    rendering_options,
)
from ftsdk.models.materialize import base_folder, materialize
from ftsdk.models.plain_tokenizer import tokenizer_files
from ftsdk.models.source import (
    ModelFacts,
    check_stated_sizes,
    inspect_model,
)
from ftsdk.models.torch_stack import loading_errors
from ftsdk.models.upload_files import files_of_model

__all__ = [
    "ModelFacts",
    "added_token_ids",
    "base_folder",
    "base_name",
    "check_stated_sizes",
    "embedding_rows_of",
    "eos_token_ids",
    "files_of_model",
    "has_own_embeddings",
    "has_unlisted_embeddings",
    "inspect_model",
    "load_model",
    "load_tokenizer",
    "loading_errors",
    "materialize",
    "max_length_of",
    "model_identity",
    "pick_device",
    "pick_dtype",
    "read_json",
    "rendering_options",
    "tokenizer_files",
]
