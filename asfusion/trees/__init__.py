"""Exact attribution of what forests and boosted trees predict."""
