"""`FineTuneJob`: one specification, many places to run it."""
