"""Objectives: pure functions of embeddings and masks, memory-lean and sharded over the batch."""
