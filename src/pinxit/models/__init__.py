"""The model families: one folder each, with its shapes, its file layouts and its numbers."""
