"""Validation of the shape tests on simulated studies."""
