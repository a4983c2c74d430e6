"""Axes: what a study varies, a page of code each."""
