"""Checks of rows of texts: rows that are in two splits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.data.findings.base import Finding
from ml4ir_losses.data.texts.rows import TextRows

_EXCESS = 0.01  # the share of rows in both splits, beyond the share that is repeated in the first one


def shared_rows(splits: Mapping[str, TextRows], of: str = "") -> Iterator[Finding]:
    """Rows whose texts are those of a row in an earlier split; `of` names the data set in messages."""
    prints = {split: _prints(rows) for split, rows in splits.items()}
    for first, second in combinations(prints, 2):
        shared = np.isin(prints[second], prints[first])
        counts = np.unique(prints[first], return_counts=True)[1]
        repeated = float(counts[counts > 1].sum()) / len(prints[first])
        if shared.all():
            text = f"every row is in {first} too: it measures what was learnt by heart"
            yield Finding("shared_queries", second + of, text)
        elif shared.mean() >= repeated + _EXCESS:
            text = f"{shared.sum():,} of {len(shared):,} rows, first {splits[second].locate(int(shared.argmax()))}"
            yield Finding("shared_documents", second + of, f"{text}: in {first} too. Keep a row in one split")


def _prints(rows: TextRows) -> Array:
    """A number for each row, [rows], equal for equal texts."""
    return np.fromiter(map(hash, zip(*rows.texts, strict=True)), np.int64, len(rows))
