"""What GPUs can do and what models are made of, as data with sources: one table for training and for serving."""
