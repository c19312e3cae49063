"""Images and series, decoded once."""
