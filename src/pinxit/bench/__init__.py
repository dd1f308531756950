"""Measured speed: ours and other programs, interleaved in one run, on the same weights, with outputs compared."""
