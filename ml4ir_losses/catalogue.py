"""Lists of the registered losses and metrics."""

from __future__ import annotations

from ml4ir_losses.core.registry import LOSSES, METRICS, Entry


def list_losses() -> list[Entry]:
    """The losses: each entry has `.key`, `.aliases`, `.loss_type`, `.parameters`, `.summary`.

    >>> [entry.key for entry in list_losses() if entry.loss_type == "classification"]
    ['categorical_cross_entropy']
    """
    return list(LOSSES)


def list_metrics() -> list[Entry]:
    """The metrics: each entry has `.key`, `.aliases`, `.parameters`, `.summary`.

    >>> "ndcg" in [entry.key for entry in list_metrics()]
    True
    """
    return list(METRICS)
