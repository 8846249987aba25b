"""One small interface over local folders and `gs://` buckets: list, open, range read, commit."""
