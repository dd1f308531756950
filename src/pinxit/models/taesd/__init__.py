"""Tiny autoencoders: a hundredth of a VAE's work, for previews and small machines."""
