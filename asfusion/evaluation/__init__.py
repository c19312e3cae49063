"""Scores with intervals, for any model that predicts."""
