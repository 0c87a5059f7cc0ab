"""Commands that use the encoder of a text run: embed texts, search documents, mine hard negatives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ml4ir_losses.config.load import AnyConfig, load_config, reads_texts
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import ConfigError, DataError, check_choice
from ml4ir_losses.core.files import write_atomically, write_csv
from ml4ir_losses.data.readers import read_table
from ml4ir_losses.data.table import Table
from ml4ir_losses.data.texts.collection import by_id
from ml4ir_losses.data.texts.rows import column_texts, make_rows, read_texts
from ml4ir_losses.evaluation.mining import MiningSummary, mine
from ml4ir_losses.evaluation.nearest import SIMILARITIES, Nearest
from ml4ir_losses.experiments.embedding_index import FOLDER as INDEX_FOLDER
from ml4ir_losses.experiments.embedding_index import open_index
from ml4ir_losses.model.embedding_model import EmbeddingModel
from ml4ir_losses.model.loading import load_encoder

CHUNK = 4096  # texts embedded between two progress updates
Progress = Callable[[int], Any]


def encode(
    run: str | Path,
    data: str,
    output: str | Path,
    columns: Sequence[str] = (),
    column: str = "positive",
    progress: Progress | None = None,
) -> tuple[int, int]:
    """Writes the embeddings of a file's rows as a float32 array [N, D] in `.npy`; returns (N, D).

    Args:
        run: the run folder.
        data: a file of texts.
        output: the file that is written.
        columns: text columns, joined by a space; empty: the only text column.
        column: which encoder to use: `positive` for documents, `anchor` for queries.
        progress: called with the number of embedded texts.

    Raises:
        UserError, DataError: for an invalid run or invalid data.
    """
    model, table = load_encoder(run), read_table(data)
    texts = column_texts(table, list(columns) or _text_column(table), "--column")
    shape = (len(texts), model.towers.output_width)

    def write(path: Path) -> None:
        array = np.lib.format.open_memmap(path, mode="w+", dtype="float32", shape=shape)
        for start, part in embedded(model, texts, column, progress):
            array[start : start + len(part)] = part
        array.flush()

    write_atomically(output, write, suffix=".npy")
    return shape


def embedded(
    model: EmbeddingModel, texts: Sequence[str], column: str, progress: Progress | None
) -> Iterable[tuple[int, Array]]:
    """(number of the first text, embeddings) of some texts at a time."""
    for start in range(0, len(texts), CHUNK):
        part = model.encode(texts[start : start + CHUNK], column)
        yield start, part
        if progress is not None:
            progress(start + len(part))


def _text_column(table: Table) -> str:
    """The only column that contains text with spaces."""
    words = [name for name in table.names if any(" " in str(cell).strip() for cell in table.strings(name)[:100])]
    if len(words) == 1:
        return words[0]
    raise DataError(
        f"{table.source}: which column holds the text? Give --column. Columns: {', '.join(table.names[:30])}."
    )


def text_column(data: str) -> str:
    """The only column of a file that contains text with spaces."""
    return _text_column(read_table(data))


def read_documents(path: str, columns: Sequence[str] = (), identity: str | None = None) -> dict[str, str]:
    """Document text by id from a file; row numbers are the ids without an `identity`.

    Raises:
        DataError: for a missing column, and a duplicate id.
    """
    table = read_table(path)
    column = list(columns) or _text_column(table)
    if identity is None:
        return {str(row): text for row, text in enumerate(column_texts(table, column, "--column"), start=1)}
    return {str(name): text for name, text in by_id(table, identity, column, "--column").items()}


Found = list[tuple[str, int, str, float, str]]


def search(
    run: str | Path,
    data: str,
    queries: Mapping[str, str],
    k: int = 10,
    columns: Sequence[str] = (),
    identity: str | None = None,
    similarity: str = "cosine",
    progress: Progress | None = None,
) -> Found:
    """(query id, rank, document id, similarity, text) of the k nearest documents of a file for every query.

    Raises:
        UserError, DataError: for an invalid run or invalid data.
    """
    check_choice(SIMILARITIES, similarity=similarity)
    model, documents = load_encoder(run), read_documents(data, columns, identity)
    texts = list(documents.values())
    nearest = Nearest(model.encode(list(queries.values()), "anchor"), k, similarity)
    for _, part in embedded(model, texts, "positive", progress):
        nearest.add(part)
    return _found(queries, *nearest.result(), list(documents), texts)


def search_index(run: str | Path, queries: Mapping[str, str], k: int = 10) -> Found:
    """What `search` gives, for the documents of the run's index.

    Raises:
        UserError: for an invalid run, and without an index of its model.
    """
    index = open_index(Path(run) / INDEX_FOLDER)
    embeddings = load_encoder(run).encode(list(queries.values()), "anchor")
    return _found(queries, *index.search(embeddings, k), index.ids, index.texts)


def _found(queries: Iterable[str], scores: Array, rows: Array, ids: Sequence[str], texts: Sequence[str]) -> Found:
    return [
        (query, rank, ids[row], float(score), texts[row])
        for query, top_rows, similarities in zip(queries, rows, scores, strict=True)
        for rank, (row, score) in enumerate(zip(top_rows, similarities, strict=True), start=1)
    ]


def read_queries(path: str, identity: str, column: str) -> dict[str, str]:
    """Query text by id from a file."""
    return {str(name): text for name, text in by_id(read_table(path), identity, column, "--query-column").items()}


def mine_negatives(
    config: str | Path | Mapping[str, Any] | AnyConfig,
    output: str | Path,
    *,
    run: str | Path | None = None,
    overrides: Iterable[str] = (),
) -> MiningSummary:
    """Writes training rows with hard negatives for the pairs of a config's training split.

    Args:
        config: a text config with the mining settings in its `mining` section.
        output: the CSV file that is written.
        run: run folder of the encoder; overrides `mining.run`.
        overrides: `a.b.c=value` strings.

    Raises:
        ConfigError, DataError: one line for what is wrong; nothing was written.
    """
    checked = load_config(config, overrides)
    if not reads_texts(checked):
        raise ConfigError("mine-negatives reads pairs of texts: give data.columns.")
    _, text_set = checked.data.only_set()
    if not {"anchor", "positive"} <= set(text_set.columns):
        raise ConfigError("data.columns: mine-negatives needs anchor and positive.")
    settings = checked.mining
    folder = run or settings.run
    if folder is None:
        raise ConfigError("mining.run: is missing: the run folder whose encoder finds the negatives (or --run).")
    model = load_encoder(folder)
    pairs = text_set.model_copy(update={"columns": {role: text_set.columns[role] for role in ("anchor", "positive")}})
    rows = make_rows(read_texts(checked.data, text_set.train), pairs)
    corpus = None
    if settings.corpus is not None:
        corpus = column_texts(read_texts(checked.data, settings.corpus), settings.document, "mining.document")
    rules = settings.model_dump(exclude={"run", "corpus", "document"})
    header, mined = mine(model, rows.texts[0], rows.texts[1], corpus, seed=checked.training.seed, **rules)
    write_csv(output, header, mined)
    return mined.summary
