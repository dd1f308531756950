"""LoRAs and their relatives: small changes of a model's weights."""
