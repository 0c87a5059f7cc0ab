"""The reader `tfrecord`: queries and documents as TF-Ranking and ml4ir keep them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from ml4ir_losses.core.registry import register_reader
from ml4ir_losses.data.table import Table


@register_reader("tfrecord", endings=(".tfrecord", ".tfrecords"))
def read_tfrecord(
    path: str,
    *,
    kind: Literal["sequence_example", "elwc", "eie", "example"] | None = None,
    lists: Sequence[str] = (),
) -> Iterator[Table]:
    """TFRecord files of ml4ir and TF-Ranking: a column per feature; those of the query are repeated for its documents.

    Args:
        path: the file; gzip and zlib are recognised by their content.
        kind: `sequence_example` (ml4ir, TF-Ranking), `elwc` (ExampleListWithContext), `eie` (Example-in-Example), or
            `example`, a document per record; None: found out from the first record.
        lists: features whose cells are lists even where all documents at the start of the file have one value.

    Raises:
        DataError: a file that is damaged or truncated, a record that is no such message, a feature of several types.
    """
    from ml4ir_losses.data.tfrecord.reading import read_tables

    return read_tables(path, kind, lists)
