"""Models that are chosen and weighed by the data: automatic fusion."""
