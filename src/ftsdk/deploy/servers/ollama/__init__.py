"""Ollama: Modelfiles around finished GGUF files, and an Ollama that runs already."""
