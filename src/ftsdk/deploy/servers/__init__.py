"""Servers of tuned models: one set of words for llama.cpp, vLLM, Ollama and Modal."""

from ftsdk.deploy.servers.engines import VLLM, Engine, EngineName, LlamaCpp, ModalServer, Ollama
from ftsdk.deploy.servers.plan import PlannedModel, RefusedPart, ServerPlan
from ftsdk.deploy.servers.record import ServerRecord, servers, stop_server
from ftsdk.deploy.servers.serve import serve
from ftsdk.deploy.servers.served_models import Servable
from ftsdk.deploy.servers.server import Server

__all__ = [
    "VLLM",
    "Engine",
    "EngineName",
    "LlamaCpp",
    "ModalServer",
    "Ollama",
    "PlannedModel",
    "RefusedPart",
    "Servable",
    "Server",
    "ServerPlan",
    "ServerRecord",
    "serve",
    "servers",
    "stop_server",
]
