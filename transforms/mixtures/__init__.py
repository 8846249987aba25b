"""Mixtures: manifests over the shards of sources, and series of tars with sources mixed."""
