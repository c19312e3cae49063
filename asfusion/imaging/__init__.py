"""Images from files to tensors."""
