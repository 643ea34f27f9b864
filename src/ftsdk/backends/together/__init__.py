"""Together's managed fine-tuning."""
