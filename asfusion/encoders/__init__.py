"""Encoders: one description per modality, columns in, tokens out."""
