"""The work: pure functions on Arrow batches and arrays, and the PTransforms that run them."""
