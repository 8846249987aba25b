"""What people read about a release: made from committed tables, never typed by hand."""
