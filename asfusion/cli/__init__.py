"""What a notebook does, on CSV and Parquet."""
