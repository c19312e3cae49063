"""Slices and NIfTI to volumes, and volumes to grids."""
