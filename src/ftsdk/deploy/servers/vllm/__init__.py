"""vLLM: what starts it, as files, and a server that runs already. Nothing of it is imported here."""
