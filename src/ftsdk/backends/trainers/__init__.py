"""What trains at a place."""
