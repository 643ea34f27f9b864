"""A run's record for those who have to answer for the model: what it was made of, how, and who signed for it."""
