"""Shards: kept samples in keyed-hash order, as WebDataset tars with an index beside each."""
