"""The public Python names of Aetheris, and nothing else."""
