"""Open models, as dated data: licences and their conditions, sizes, traits, and what fits where."""
