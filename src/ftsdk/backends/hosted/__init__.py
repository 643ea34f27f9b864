"""Backends made of a launcher and a trainer: N launchers and M trainers in place of N x M backends."""
