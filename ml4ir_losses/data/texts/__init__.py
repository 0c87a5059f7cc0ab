"""Rows of texts and their batches."""
