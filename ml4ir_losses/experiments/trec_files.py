"""Writes the predictions of a run, and the labels of its data, as TREC files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.table import Table
from ml4ir_losses.data.trec import write_qrels, write_run
from ml4ir_losses.experiments.feature_data import with_data
from ml4ir_losses.experiments.feature_experiment import FeatureExperiment


def write_trec_files(
    experiment: FeatureExperiment, data: Any, output: str | Path, qrels: str | Path | None = None
) -> int:
    """Writes a run file, and a qrels file unless `qrels` is None; returns the number of documents.

    Documents whose label marks padding are not in the qrels.

    Raises:
        DataError: for data that cannot be used, and without labels where a qrels file is asked for.
    """
    if qrels is not None:
        with_data(experiment.config, data, lambda blocks: write_qrels(qrels, _judged(experiment, blocks)))
    tag = experiment.config.name
    return experiment.write_predictions(data, lambda rows: write_run(output, _ranked(rows), tag))


def _judged(experiment: FeatureExperiment, blocks: Iterable[Table]) -> Iterator[tuple[str, str, float]]:
    """(query, document, label) of the documents that are no padding."""
    label = experiment.config.features.label
    for queries in experiment.encoded(blocks, labels_required=False):
        labels = queries.labels.get(label)
        if labels is None:
            raise DataError(f"{queries.source}: no column {label!r}; qrels are made from labels.")
        ids = np.repeat(queries.ids, queries.sizes)
        for row in np.flatnonzero(labels >= experiment.config.model.min_label):
            yield ids[row], queries.document_ids[row], labels[row]


def _ranked(rows: Iterable[list[Any]]) -> Iterator[tuple[str, str, int, Any]]:
    """(query, document, rank, logit), the best document of each query first."""
    for query, documents in groupby(rows, key=itemgetter(0)):
        for _, document, _, logit, _, rank in sorted(documents, key=itemgetter(5)):
            yield query, document, rank, logit
