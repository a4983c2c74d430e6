"""What only a GPU shows: `pytest -m gpu` on a machine that has one; those of several GPUs need two."""
