"""pinxit: Stable Diffusion, whole. The public API is loaded lazily, so that importing the package stays instant."""

__version__ = "0.1.0"
