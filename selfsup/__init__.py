"""selfsup: train and judge visual representations on your own images."""

__version__ = "0.1.0"
