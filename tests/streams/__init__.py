"""Rows that are larger than memory."""
