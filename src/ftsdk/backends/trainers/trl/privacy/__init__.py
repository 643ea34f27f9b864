"""Training with differential privacy. `accounting.py` and `choices.py` are pure; the others need torch and opacus."""
