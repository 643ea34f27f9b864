"""Places where a worker can run."""
