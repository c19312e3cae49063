"""Every fusion beside every single modality, on the same folds."""
