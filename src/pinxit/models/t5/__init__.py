"""T5 text encoders by themselves."""
