"""Verifying: a work directory is read again, whole, and compared with what it says of itself."""
