"""Towers: what turns pixels and tokens into embeddings (Flax NNX)."""
