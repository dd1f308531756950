"""Textual inversion: words that are vectors."""
