"""Places to run a job, and the waist that they share."""
