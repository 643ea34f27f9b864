"""An API against a model of your own, over volume and under doubt."""
