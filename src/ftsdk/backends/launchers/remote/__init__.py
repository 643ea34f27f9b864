"""A launcher on another machine: its own code runs there, and is called through ssh."""
