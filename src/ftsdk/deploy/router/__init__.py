"""A router: a tuned model in front of a fallback, with rollback by measurement."""
