"""selfsup: train and evaluate visual representations on your own images."""

__version__ = "0.1.0"
