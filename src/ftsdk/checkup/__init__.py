"""What `ftsdk doctor` looks at: packages, keys, providers and clusters, and this machine."""
