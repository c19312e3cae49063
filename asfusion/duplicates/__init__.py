"""Copies among images and notes, found before a split parts them."""
