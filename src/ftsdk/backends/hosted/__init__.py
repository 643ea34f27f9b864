"""A backend made of a place and a trainer: N launchers and M trainers instead of N x M backends."""
