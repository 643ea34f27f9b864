"""`FineTuneJob`: one specification that runs on any backend."""
