"""Losses of several outputs per document."""

from losses.families.common import Case

CASES: dict[str, Case] = {}
