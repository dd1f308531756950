"""Stable Diffusion 2.x: OpenCLIP-H text, an 866 M U-Net, 512 or 768 pixels."""
