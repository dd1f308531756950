"""Stable Diffusion 2.1 unCLIP: also told an image embedding, so that it varies pictures; 768 pixels."""
