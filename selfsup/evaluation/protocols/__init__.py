"""Protocols: each an algorithm alone, named with a version."""
