"""Losses made of metrics."""

from losses.families.common import Case

CASES: dict[str, Case] = {}
