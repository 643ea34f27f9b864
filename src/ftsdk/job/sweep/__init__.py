"""Sweeps: runs of one job that differ in its settings, within one budget."""
