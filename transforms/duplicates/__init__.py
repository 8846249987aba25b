"""Who belongs together: duplicate clusters, never who is kept."""
