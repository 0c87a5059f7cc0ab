"""Exports the model of a run, compared with Keras on rows of the run's own data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ml4ir_losses.config.checks import kind_of
from ml4ir_losses.config.in_memory import SPLITS
from ml4ir_losses.config.load import AnyConfig, reads_texts
from ml4ir_losses.config.yaml_io import read_yaml
from ml4ir_losses.core.errors import DataError, UserError
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.data.streaming.reading import RowSource
from ml4ir_losses.data.table import Table
from ml4ir_losses.data.texts.rows import column_texts
from ml4ir_losses.experiments.open_run import open_run
from ml4ir_losses.experiments.pair_preparation import text_columns
from ml4ir_losses.experiments.run_status import not_finished
from ml4ir_losses.export.exporting import Exported, check_can_export, export_model
from ml4ir_losses.export.samples import first_rows


def export(
    run: str | Path,
    path: str | Path | None = None,
    format: str = "saved_model",
    *,
    quantize: str | None = None,
    data: Any = None,
    mapping: str | Path | None = None,
    serving_default: str | None = None,
) -> Exported:
    """Writes the model of a run for another runtime, and compares it with Keras before it is called done.

    Args:
        run: the run folder.
        path: the folder that is written; None: `<run>/export/<format>`.
        format: `saved_model`, `onnx`, `litert` or `openvino`; `opensearch`, `elasticsearch`, `solr` or `vespa`.
        quantize: how the weights are quantised, such as `int8`; None: they are not.
        data: a file, or data in memory, with the rows on which both are compared; None: the test, validation or
            training files of the run, while they exist, else made-up rows.
        mapping: a file that says what each column is in a search engine; None: a field of the same name.
        serving_default: of the SavedModel of a ranking model: what the signature of this name takes: `columns`, as
            None, or what that of TF-Ranking does, `predict` for lists or `regress` for single documents.

    Raises:
        UserError, DataError: where nothing was written, with the reason.
    """
    path = Path(run) / "export" / format if path is None else Path(path)
    columns = None if mapping is None else read_yaml(Path(mapping))
    check_can_export(path, format, quantize, columns, serving_default)
    if unfinished := not_finished(run):
        raise UserError(unfinished)
    experiment = open_run(run)
    if data is None:
        data = _own_rows(experiment.config)
    if data is None:
        LOGGER.warning("%s: the data of the run cannot be read; made-up rows are compared. Give --data.", run)
    return export_model(
        experiment.model,
        path,
        format,
        quantize=quantize,
        data=data,
        mapping=columns,
        serving_default=serving_default,
    )


def _own_rows(config: AnyConfig) -> Table | None:
    """Rows of the test, validation or training split of a run; None where none of them can be read."""
    for source in _sources(config):
        try:
            return _with_query(config, first_rows(source.chunks()))
        except (DataError, OSError):
            continue
    return None


def _with_query(config: AnyConfig, rows: Table) -> Table:
    """The rows with the column that a cross-encoder reads the query from, where that is made of several columns."""
    if not reads_texts(config) or kind_of(config.model.architecture) != "pairs":
        return rows
    _, columns = config.data.only_set()
    query = text_columns(columns)[0]
    if query in rows:
        return rows
    texts = column_texts(rows, columns.columns[columns.texts[0]], "data.columns")
    return Table({**rows.columns, query: np.array(texts, object)}, rows.sources, origin=rows.origin)


def _sources(config: AnyConfig) -> Iterator[RowSource]:
    for split in reversed(SPLITS):
        if reads_texts(config):
            texts = config.data
            given = (getattr(text_set, split) for text_set in texts.sets().values())
            for paths in given:
                if paths is not None:
                    yield RowSource(texts.paths(paths), texts.format, texts.options)
        elif paths := config.data.paths(split):
            yield RowSource(paths, config.data.format, config.data.options, config.features.list_columns)
