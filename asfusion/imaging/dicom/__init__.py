"""DICOM files to pixels, under guard."""
