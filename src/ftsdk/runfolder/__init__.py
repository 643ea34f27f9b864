"""What a run's folder is made of, whatever backend fills it: a lock, an event log with one writer, and manifests that prove a folder whole."""
