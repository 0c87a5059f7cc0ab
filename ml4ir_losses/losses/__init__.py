"""Losses: pure functions under thin classes."""
