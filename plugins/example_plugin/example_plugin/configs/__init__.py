"""Configs that name the components of this package."""
