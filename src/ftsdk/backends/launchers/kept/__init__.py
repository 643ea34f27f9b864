"""Runs whose files are kept in a shared folder or an object store, and the node that works on one."""
