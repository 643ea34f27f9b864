"""Export a model: merged, as an adapter, as GGUF, for Ollama; with proof that it answers as before. Loads no torch."""

from ftsdk.models.export.gguf_files import GgufFile, write_adapter_gguf, write_gguf
from ftsdk.models.export.model_folder import write_merged
from ftsdk.models.export.quantizing import QUANTIZATIONS

__all__ = ["QUANTIZATIONS", "GgufFile", "write_adapter_gguf", "write_gguf", "write_merged"]
