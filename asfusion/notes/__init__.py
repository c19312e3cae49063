"""Clinical notes from text to token ids."""
