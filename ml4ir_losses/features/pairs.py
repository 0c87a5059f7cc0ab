"""Inputs of type `text_pair`: the query and the document as one sequence of token ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.data.table import Table


def pair_texts(columns: Sequence[str], table: Table) -> tuple[list[str], list[str]]:
    """Query and document of every row; the columns of the document are joined by a space."""
    query, *document = (table.strings(column) for column in columns)
    return list(query), [" ".join(cells) for cells in zip(*document, strict=True)]


def fit_words(columns: Sequence[str], table: Table, size: int) -> list[str]:
    """The most frequent words; a text that occurs in many rows, as a query does, counts once."""
    from ml4ir_losses.text.words import most_common, tokenize

    texts = {text for column in pair_texts(columns, table) for text in column}
    return most_common(Counter(word for text in texts for word in tokenize(text)), size)


def pair_tokenizer(fitted: Any) -> Any:
    """The `PairTokenizer` of a fitted input."""
    from ml4ir_losses.text.tokenizers import PairTokenizer, WordTokenizer

    if fitted.preset is None:
        words: Any = WordTokenizer(fitted.vocabulary, fitted.max_length)
    else:
        from ml4ir_losses.text.hub_tokenizer import HubTokenizer

        words = HubTokenizer.from_preset(fitted.preset, fitted.max_length)
        words.max_length += sum(map(len, words.bounds))
    return PairTokenizer(words, fitted.max_length, fitted.max_query_length)


def encode_pairs(fitted: Any, table: Table) -> Array:
    """Token ids [rows, T], as wide as the longest sequence."""
    ids: Array = fitted.tokenizer.padded(*pair_texts(fitted.columns, table))
    return ids
