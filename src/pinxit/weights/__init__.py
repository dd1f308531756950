"""Weight files: what they hold, which layout explains them, and how tensors go in and out. No network is known here."""
