"""Text encoders of CLIP by themselves."""
