"""Counts over the whole corpus, by shuffle, joined back to the parts."""
