"""Measurements of asfusion; each file is a script of its own."""
