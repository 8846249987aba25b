"""The stateless loader: the batch of a step is a function of manifest, options and step."""
