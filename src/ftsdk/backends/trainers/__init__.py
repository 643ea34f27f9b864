"""Trainers: training libraries, as a worker uses them."""
