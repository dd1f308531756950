"""Plugins fill the catalogue, ours first."""
