"""Data larger than memory: sorted, encoded and read from disk."""
