"""The writer `huggingface`: a folder that `datasets.load_from_disk` loads."""

from __future__ import annotations

import json
import os
from typing import Any

import pyarrow as pa

from ml4ir_losses.core.registry import register_writer
from ml4ir_losses.data.files import is_url
from ml4ir_losses.data.writers.base import ColumnarWriter

_DATA = "data-00000-of-00001.arrow"
_STATE: dict[str, Any] = {
    "_data_files": [{"filename": _DATA}],
    "_format_columns": None,
    "_format_kwargs": {},
    "_format_type": None,
    "_output_all_columns": False,
    "_split": None,
}


@register_writer("huggingface", aliases=("datasets",))
class HuggingFaceWriter(ColumnarWriter):
    """A folder of a Hugging Face `Dataset`, for `datasets.load_from_disk`."""

    def open(self, schema: Any) -> Any:
        """The writer of Arrow tables."""
        if not is_url(self.path):
            os.mkdir(self.path)
        return pa.ipc.new_stream(self.create(f"{self.path}/{_DATA}"), schema)

    def close(self) -> None:
        self._write_json("dataset_info.json", {})  # without types: those of the Arrow schema hold
        self._write_json("state.json", {**_STATE, "_fingerprint": os.urandom(8).hex()})

    def _write_json(self, name: str, content: dict[str, Any]) -> None:
        self.create(f"{self.path}/{name}").write(json.dumps(content).encode())
