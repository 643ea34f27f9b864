"""Slurm: workers are batch jobs, and runs are folders on a file system that all nodes share."""
