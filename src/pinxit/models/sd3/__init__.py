"""Stable Diffusion 3 and 3.5: a transformer over picture and text, up to three text encoders, 16-channel latents."""
