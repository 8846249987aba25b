"""Measuring: the part-wise column families, from stored media and texts to columns of signals."""
