"""Long hospital records, one event a row, to wide features, one patient a row."""
