"""Lambda losses and lambda weights."""

from losses.families.common import Case

CASES: dict[str, Case] = {}
