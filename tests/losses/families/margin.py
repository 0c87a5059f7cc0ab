"""Margins of known pairs."""

from losses.families.common import Case

CASES: dict[str, Case] = {}
