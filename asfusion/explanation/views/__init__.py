"""Pictures and pages of explanations; they know the fields that they draw, and no result."""
