"""Runs as managed jobs of SkyPilot, which is reached through its API server and never imported."""
