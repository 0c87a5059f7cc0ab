"""The description of a key, and functions that oracles share.

Every oracle is `oracle(labels, scores, mask, weight, **params) -> [value of each row]`, a float64 loop over documents
written from the formula that shares no code with the library; `weight` may be None.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

NORMALIZED = ({"normalization": "query"}, {"normalization": "batch"}, {"normalization": "sum"})
SHARP = {"temperature": 0.3}


@dataclass(frozen=True)
class Case:
    """The oracle, test parameters and properties of a key.

    `layout` says what a row is: `list` (scores and labels [B, N]), `outputs` (scores [B, N, `outputs`], labels [B, N]),
    `classes` (scores [B, K], labels [B]), `columns` (scores and labels [B, N], every place with a meaning of its
    own: no padding, no document weights), or `embeddings` (scores [B, `columns`, `dims`], or [B, `dims`] for 0 columns;
    labels, weights and a mask of the rows).
    """

    oracle: Callable[..., list[float]]
    variants: tuple[dict[str, Any], ...]
    layout: str = "list"
    outputs: int = 0
    width: int = 0  # columns of a row, where the loss fixes their number
    columns: int = 0  # texts of a row of embeddings; 0: one text, [B, D]
    layers: int = 0  # one embedding per text and layer, [B, C, L, D]
    dims: int = 0  # size of an embedding; 0: the test chooses
    teacher: tuple[int, ...] = ()  # the shape of a row's teacher labels
    labels: str = "graded"  # graded, unit, binary, class; for embeddings none, class, binary, share, number,
    # teacher, token
    shift_invariant: bool = True
    constant_alone: bool = True  # the value of a query of one document is 0 at any score
    smooth: bool = True  # differentiable at every score, ties included
    steep: float = 1.0  # the largest slope of a term; the learning rate is divided by it
    random: bool = False  # samples: the noise of a document depends on its place
    remembers: bool = False  # its Keras loss keeps rows between calls
    required: Mapping[str, Any] = field(default_factory=dict)  # values of required parameters
    held: bool = False  # has parts without gradient: the oracle takes `held`, the scores at which they are computed
    pooled: bool = False  # normalised over the batch by default: the value of a row depends on the others

    @property
    def documents(self) -> bool:
        """True if rows are lists of documents: padding and document weights are defined."""
        return self.layout in ("list", "outputs")

    @property
    def marked(self) -> bool:
        """True if the labels can mark padding."""
        return self.layout not in ("columns", "embeddings")


def documents(labels, scores, mask, weight):
    """For every query the (label, score, weight) of its valid documents."""
    for b, row in enumerate(mask):
        yield [
            (float(labels[b][i]), float(scores[b][i]), 1.0 if weight is None else float(weight[b][i]))
            for i, valid in enumerate(row)
            if valid
        ]


def logsumexp(xs):
    top = max(xs)
    return top + math.log(math.fsum(math.exp(x - top) for x in xs))


def log_sigmoid(x):
    return -math.log1p(math.exp(-x)) if x >= 0 else x - math.log1p(math.exp(x))


def log_softmax(xs):
    return [x - logsumexp(xs) for x in xs]


def pooled(queries, normalization):
    """Per-query values from each query's list of (weight, term)."""
    totals = [math.fsum(w * term for w, term in query) for query in queries]
    weights = [math.fsum(w for w, _ in query) for query in queries]
    if normalization == "query":
        return [t / w if w else 0.0 for t, w in zip(totals, weights, strict=True)]
    if normalization == "batch":
        pool = math.fsum(weights)
        return [len(totals) * t / pool if pool else 0.0 for t in totals]
    return totals


def fixed_noise(sample, row, place):
    """The Gumbel noise that follows from `conftest.fixed_uniform`."""
    share = ((89 * sample + 57 * row + 31 * place + 7) % 256 + 0.5) / 256
    return -math.log(-math.log(share))
