"""T2I-Adapters: small networks that guide a U-Net with a picture."""
