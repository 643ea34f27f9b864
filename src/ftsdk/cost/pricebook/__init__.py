"""Dated prices in layers, and the rules by which providers bill: nothing here costs 0 by accident."""
