"""Who learns what in one image, in numbers."""
