"""Training with one model spread over all processes: FSDP2 of PyTorch, driven by accelerate and transformers."""
