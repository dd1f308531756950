"""Stable Diffusion XL: two text encoders, a 2.6 G U-Net, 1024 x 1024 pictures; and its refiner."""
