"""Rows that are larger than memory: read in pieces, kept on disk, learned from block by block."""
