"""Ray: a run is a job of an existing cluster, which reserves its nodes, and keeps its files in a storage."""
