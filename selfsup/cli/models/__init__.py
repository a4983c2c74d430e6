"""Verbs about trained networks."""
