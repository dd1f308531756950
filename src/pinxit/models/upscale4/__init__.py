"""Stable Diffusion x4 upscaler: a small picture and a text to a picture four times as wide."""
