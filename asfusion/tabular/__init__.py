"""Tables from mixed cells to numbers."""
