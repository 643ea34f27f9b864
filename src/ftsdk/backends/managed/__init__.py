"""What every managed service needs, written once: a vendor implements `ManagedService`, and `ManagedBackend` does the rest."""
