"""Kernels in C++, compiled on the machine that uses them. Without a compiler torch's own are used."""
