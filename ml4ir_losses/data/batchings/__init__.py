"""Batchings by key, one module each: classes that say which rows of a data set of texts make a batch."""
