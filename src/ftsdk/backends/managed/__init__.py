"""What every managed service needs, written once.

A vendor implements `ManagedService`, and `ManagedBackend` does the rest.
"""
