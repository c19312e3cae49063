"""A model judged by others of its kind that did not learn from a row."""
