"""Verbs that train, and what they share."""
