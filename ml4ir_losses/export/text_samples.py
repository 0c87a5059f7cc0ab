"""Texts of a few numbers, and what Keras gives for them: what an export of a text model is compared with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from typing import Any

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.cells import is_text
from ml4ir_losses.data.memory import memory_table
from ml4ir_losses.data.table import Table
from ml4ir_losses.evaluation.encoding import DOCUMENT, QUERY
from ml4ir_losses.export.graph import Graph
from ml4ir_losses.export.samples import MADE_UP, SIZES, Case
from ml4ir_losses.features.kinds.text_pair import pair_texts
from ml4ir_losses.features.strings import made_up_texts
from ml4ir_losses.model.cross_encoder import TextCrossEncoder
from ml4ir_losses.model.embedding_model import EmbeddingModel


def made_up_texts_of(model: EmbeddingModel) -> Table:
    """Texts of the words that the tokenizer knows, and of unknown ones."""
    words, longest = model.tokenizer.words, model.tokenizer.max_length + 2
    return memory_table({"text": made_up_texts(words, MADE_UP, longest, np.random.default_rng(0))}, "made-up texts")


def texts_of(table: Table) -> list[str]:
    """The different texts of all columns of text.

    Raises:
        DataError: for a table without texts.
    """
    columns = [name for name in table.names if name in table.columns and is_text(table.columns[name].type)]
    texts = [text for cells in zip(*(table.strings(name) for name in columns), strict=True) for text in cells]
    if not texts:
        raise DataError(f"{table.source}: no column holds texts. Columns: {', '.join(table.names[:30])}.")
    return list(dict.fromkeys(texts))


def embedding_cases(model: EmbeddingModel, graphs: Sequence[Graph], table: Table) -> Iterator[Case]:
    """Texts for the graphs of `export.texts`, as token ids or strings, with the embeddings of `encode`."""
    found = texts_of(table)
    for number in SIZES:
        texts = list(islice(cycle(found), number))
        embeddings = {column: model.encode(texts, column) for column in (QUERY, DOCUMENT)}
        ids, strings = model.tokenizer.padded(texts), np.array(texts, object)
        others, other_strings = np.roll(ids, 1, axis=0), np.roll(strings, 1)
        given: dict[str, Array] = {"ids": ids, "texts": strings, QUERY: strings, DOCUMENT: other_strings}
        given |= {f"{QUERY}_ids": ids, f"{DOCUMENT}_ids": others}
        for graph in graphs:
            inputs = {name: given[name] for name in graph.inputs}
            if "probability" in graph.outputs:
                output: Any = model({QUERY: ids, DOCUMENT: others}, training=False)
                expected = {"probability": np.asarray(output["score"])}
            else:
                expected = {"embedding": embeddings[DOCUMENT if graph.name.endswith("document") else QUERY]}
            yield Case(graph.name, number, inputs, expected)


def pair_cases(model: TextCrossEncoder, graph: Graph, table: Table) -> Iterator[Case]:
    """Pairs of texts for `pair_graph`, with the values of `score_pairs`."""
    queries, documents = pair_texts(model.pair.columns, table)
    for number in SIZES:
        pairs = list(islice(cycle(queries), number)), list(islice(cycle(documents), number))
        logits = model.score_pairs(*pairs)
        expected = {"logit": logits}
        if "probability" in graph.outputs:
            expected["probability"] = model.class_probabilities(*pairs)
        if "score" in graph.outputs:
            expected["score"] = model.pair_outputs("score", *pairs)
        yield Case(graph.name, number, {"ids": model.tokenizer.padded(*pairs)}, expected)
