"""Batchings, one module each: classes that choose the rows of each batch of a text data set."""
