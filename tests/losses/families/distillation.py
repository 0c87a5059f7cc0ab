"""Teachers, soft ranks and candidates."""

from losses.families.common import Case

CASES: dict[str, Case] = {}
