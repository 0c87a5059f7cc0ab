"""NeuralSort, Sinkhorn and losses that sample."""

from losses.families.common import Case

CASES: dict[str, Case] = {}
