"""Tests of the sampling layer."""
