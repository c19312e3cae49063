"""Archives of images, whatever they are asked by."""
