"""ESRGAN's upscalers."""
