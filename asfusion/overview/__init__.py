"""What to know of a table before the first fit."""
