"""Hypernetworks: layers before the keys and values of every attention."""
