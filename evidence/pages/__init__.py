"""Pages to read and to touch: one HTML file each, which needs nothing else."""
