"""The loader for other frameworks; each is optional and imported only where asked for."""
