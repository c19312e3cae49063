"""A fitted model as one safe folder, and back."""
