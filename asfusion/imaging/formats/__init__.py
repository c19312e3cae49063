"""How PNG, JPEG and TIFF files are built, walked before a decoder sees them."""
