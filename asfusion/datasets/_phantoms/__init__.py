"""Drawn pictures and written notes of people who do not exist."""
