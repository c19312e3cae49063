"""Columns that give the answer away, or tell patients apart, each with its evidence."""
