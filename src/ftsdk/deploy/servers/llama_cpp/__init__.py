"""llama.cpp in a process of its own: several adapters on one base, behind a front that keeps them apart."""
