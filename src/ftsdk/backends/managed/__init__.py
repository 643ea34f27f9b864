"""What every managed service needs on this side: a mirror of its history, a run folder, archives."""
