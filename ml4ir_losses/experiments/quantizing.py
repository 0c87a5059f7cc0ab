"""Makes the index of a text run: embeds documents, quantizes the embeddings, and measures what that costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ml4ir_losses.config.text_schema import RetrievalConfig, TextDataConfig
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError, UserError
from ml4ir_losses.data.texts.collection import Collection, read_collection
from ml4ir_losses.evaluation.encoding import DOCUMENT, QUERY
from ml4ir_losses.evaluation.evaluators import RetrievalEvaluator
from ml4ir_losses.evaluation.nearest import top_k
from ml4ir_losses.evaluation.scoring import QueryMetrics
from ml4ir_losses.evaluation.summary import summarize
from ml4ir_losses.evaluation.vector_index import IndexSettings, VectorIndex, import_faiss, make_vector_index
from ml4ir_losses.experiments.embedding_index import IndexRecord, Measured, new_index, write_index
from ml4ir_losses.experiments.open_run import open_run
from ml4ir_losses.experiments.text_commands import Progress, embedded, read_documents, text_column
from ml4ir_losses.model.embedding_model import EmbeddingModel

DEPTH = 10  # documents that are searched for in what is measured


def quantize_embeddings(
    run: str | Path,
    data: str | None = None,
    *,
    precision: str = "int8",
    rescore: int = 4,
    rescore_by: str = "int8",
    similarity: str | None = None,
    columns: Sequence[str] = (),
    document_id: str | None = None,
    queries: str | None = None,
    qrels: str | None = None,
    progress: Progress | None = None,
) -> IndexRecord:
    """Writes the index of a run, `<run>/index`, which replaces an earlier one, and tells what was measured.

    The change of nDCG@10 is measured with `queries` and `qrels` on the documents, else on the run's `data.retrieval`.

    Args:
        run: the run folder.
        data: a file of documents; None: the corpus of the run's `data.retrieval`.
        precision, rescore, rescore_by: see `IndexSettings`.
        similarity: `cosine`, `dot` or `euclidean`; None: that of `data.retrieval`, else cosine.
        columns: text columns of the documents, joined by a space; empty: those of `data.retrieval`, else the only one.
        document_id: the column of ids; None: that of `data.retrieval` where queries are given, else row numbers.
        queries: a file of queries, with the columns of `data.retrieval` (query_id and text by default).
        qrels: a file of judgments: query_id, doc_id and grade by default.
        progress: called with the number of embedded documents.

    Raises:
        UserError, DataError: for an invalid run, data or options; an earlier index stays.
    """
    import_faiss()
    experiment, folder = open_run(run), Path(run)
    model, config = experiment.model, experiment.config
    if not isinstance(model, EmbeddingModel):
        raise UserError(f"{run}: is the run of a ranking model, which embeds no texts.")
    if model.sparse:
        raise UserError(f"{run}: its embeddings are sparse; an inverted index holds them, FAISS does not.")
    if (queries is None) != (qrels is None):
        raise UserError("--queries and --qrels belong together.")
    retrieval: RetrievalConfig | None = config.data.retrieval
    default = "cosine" if retrieval is None else retrieval.similarity
    settings = IndexSettings(precision, similarity or default, rescore, rescore_by)
    collection, note = None, "data.retrieval"
    if data is None or queries is not None:
        changed = _changed(config.data, data, columns, document_id, queries, qrels)
        collection = read_collection(changed)
        documents = _by_text_id(collection)
        note = note if queries is None else queries
    else:
        documents = read_documents(data, columns, document_id)
        if retrieval is not None:
            collection = _own_collection(config.data)
    dims = None if retrieval is None else retrieval.dims
    with new_index(folder) as part:
        embeddings = _embed(model, list(documents.values()), settings, dims, part / "embeddings.npy", progress)
        index = make_vector_index(embeddings, settings)
        measured = None
        if collection is not None:
            same = _by_text_id(collection) == documents
            measured = _measure(model, collection, settings, dims, note, (embeddings, index) if same else None)
        del embeddings
        (part / "embeddings.npy").unlink()
        return write_index(part, index, documents, measured)


def _by_text_id(collection: Collection) -> dict[str, str]:
    return {str(name): text for name, text in collection.corpus.items()}


def _changed(
    data: TextDataConfig,
    corpus: str | None,
    columns: Sequence[str],
    document_id: str | None,
    queries: str | None,
    qrels: str | None,
) -> TextDataConfig:
    """The `data` section with other files and columns in `data.retrieval`."""
    paths = {"corpus": corpus, "queries": queries, "qrels": qrels}
    given: dict[str, Any] = {name: str(Path(path).absolute()) for name, path in paths.items() if path is not None}
    given |= {"document": list(columns)} if columns else {}
    given |= {"document_id": document_id} if document_id else {}
    if data.retrieval is not None:
        return data.model_copy(update={"retrieval": data.retrieval.model_copy(update=given)})
    if corpus is None:
        raise UserError("the run has no data.retrieval, whose corpus could be indexed: give --data FILE.")
    if not columns:
        given["document"] = text_column(corpus)
    return data.model_copy(update={"retrieval": RetrievalConfig.model_validate(given)})


def _own_collection(data: TextDataConfig) -> Collection | None:
    """The collection of the run, while its files are there."""
    try:
        return read_collection(data)
    except DataError:
        return None


def _embed(
    model: EmbeddingModel,
    texts: Sequence[str],
    settings: IndexSettings,
    dims: int | None,
    path: Path,
    progress: Progress | None,
) -> Array:
    """Embeddings of documents [N, D] in a file; of unit length for `cosine`."""
    width = min(dims or model.towers.output_width, model.towers.output_width)
    array: Array = np.lib.format.open_memmap(path, mode="w+", dtype="float32", shape=(len(texts), width))
    for start, part in embedded(model, texts, DOCUMENT, progress):
        part = part[:, :width]
        array[start : start + len(part)] = settings.prepared(part)
    return array


def _measure(
    model: EmbeddingModel,
    collection: Collection,
    settings: IndexSettings,
    dims: int | None,
    note: str,
    made: tuple[Array, VectorIndex] | None,
) -> Measured:
    """nDCG@10 of the float32 embeddings and of the index; `made`: both, where they are of the collection's corpus."""
    evaluator = RetrievalEvaluator(collection.corpus, collection.queries, collection.judgments, [("ndcg", DEPTH)])
    ids = list(evaluator.corpus)
    if made is None:
        texts = list(evaluator.corpus.values())
        embeddings = settings.prepared(model.encode(texts, DOCUMENT)[:, :dims])
        made = embeddings, make_vector_index(embeddings, settings)
    queries = model.encode(list(evaluator.queries.values()), QUERY)[:, :dims]
    found = [
        top_k(queries, made[0], DEPTH, settings.similarity)[1],
        made[1].search(queries, DEPTH)[1],
    ]
    values = []
    for rows in found:
        rankings = {query: [ids[row] for row in top] for query, top in zip(evaluator.queries, rows, strict=True)}
        of_queries = evaluator.per_query(rankings)
        weights = {name: np.ones(len(column), "float32") for name, column in of_queries.items()}
        values.append(QueryMetrics(of_queries, weights, np.array(evaluator.query_ids, dtype=object)))
    (difference,) = summarize(values[1], baseline=values[0]).differences.values()
    return Measured(
        on=f"{note}, {len(ids):,} documents",
        queries=len(evaluator.query_ids),
        float32=difference.baseline,
        quantized=difference.baseline + difference.difference,
        interval=None if difference.interval is None else [float(limit) for limit in difference.interval],
        overlap=float(np.mean([len(set(a) & set(b)) / len(a) for a, b in zip(*found, strict=True)])),
    )
