"""The reader `huggingface`: folders of Hugging Face `datasets`, and folders of Parquet files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ml4ir_losses.core.errors import DataError
from ml4ir_losses.core.registry import register_reader
from ml4ir_losses.data.files import exists, expand, open_binary
from ml4ir_losses.data.readers.arrow import read_arrow
from ml4ir_losses.data.readers.parquet import read_parquet
from ml4ir_losses.data.table import Table


@register_reader("huggingface", aliases=("datasets",))
def read_huggingface(path: str) -> Iterator[Table]:
    """A folder written by `Dataset.save_to_disk`, or a folder of Parquet files; rows as in Parquet.

    Raises:
        DataError: for another folder, one with several splits, and files that cannot be read.
    """
    folder = path.rstrip("/")
    if exists(f"{folder}/state.json"):
        files = [f"{folder}/{file['filename']}" for file in _json(f"{folder}/state.json", "_data_files")]
        read = read_arrow
    elif exists(f"{folder}/dataset_dict.json"):
        splits = ", ".join(f"{folder}/{split}" for split in _json(f"{folder}/dataset_dict.json", "splits"))
        raise DataError(f"{path} holds several splits; name one of them: {splits}.")
    else:
        files, read = _parquet_files(folder), read_parquet
    for file in files:
        yield from read(file)


def _json(path: str, key: str) -> list[Any]:
    """A list in a JSON file."""
    with open_binary(path) as stream:
        try:
            return list(json.load(stream)[key])
        except (ValueError, KeyError, TypeError):
            raise DataError(f"{path} is not that of a Hugging Face dataset: it has no list {key!r}.") from None


def _parquet_files(folder: str) -> list[Any]:
    try:
        return expand(f"{folder}/*.parquet")
    except DataError:
        raise DataError(
            f"{folder} is a directory, neither a Hugging Face dataset (no state.json) nor a folder of Parquet files; "
            f"name its files, for instance '{folder}/*.csv'."
        ) from None
