"""Export a model: merged, as an adapter, as GGUF, for Ollama; with proof that it answers as before. Loads no torch."""

from ftsdk.models.export.card import CardFacts, EvalLine, versions
from ftsdk.models.export.export_manifest import check_servable, read_export
from ftsdk.models.export.export_model import Exported, ExportFormat, ScoreCheck, export_model
from ftsdk.models.export.export_report import Export, Parity
from ftsdk.models.export.gates import TOLERANCES, ChangedAnswer, Gate, Tolerance
from ftsdk.models.export.gguf_files import GgufFile, write_adapter_gguf, write_gguf
from ftsdk.models.export.hub import push_to_hub
from ftsdk.models.export.llama_server import LlamaServer, llama_server
from ftsdk.models.export.model_folder import write_merged
from ftsdk.models.export.quantizing import QUANTIZATIONS

__all__ = [
    "QUANTIZATIONS",
    "TOLERANCES",
    "CardFacts",
    "ChangedAnswer",
    "EvalLine",
    "Export",
    "ExportFormat",
    "Exported",
    "Gate",
    "GgufFile",
    "LlamaServer",
    "Parity",
    "ScoreCheck",
    "Tolerance",
    "check_servable",
    "export_model",
    "llama_server",
    "push_to_hub",
    "read_export",
    "versions",
    "write_adapter_gguf",
    "write_gguf",
    "write_merged",
]
