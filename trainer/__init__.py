"""The trainer and its loader: they meet the pipelines only at the shards on disk."""
