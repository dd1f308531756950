"""Image encoders of CLIP by themselves."""
