"""Stable Diffusion 1.x: CLIP-L text, an 860 M U-Net, 512 x 512 pictures."""
