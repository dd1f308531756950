"""Our own small model: one text encoder, an f16 autoencoder, size conditioning, velocity with zero terminal SNR."""
