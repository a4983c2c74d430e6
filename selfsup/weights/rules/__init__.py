"""The names that other programs give to weights, one file a family."""
