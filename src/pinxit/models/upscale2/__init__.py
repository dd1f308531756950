"""The latent x2 upscaler: a latent of Stable Diffusion 1 or 2 and a text to a latent twice as wide."""
