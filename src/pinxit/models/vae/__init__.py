"""Autoencoders by themselves, to be used in place of a model's own."""
