"""The formats that models are exported to, one module each, imported when a format is asked for."""

from __future__ import annotations

import importlib

from ml4ir_losses.core.errors import UserError, unknown_name
from ml4ir_losses.export.formats.base import ExportFormat

FORMATS = {
    "saved_model": "SavedModel",
    "onnx": "Onnx",
    "litert": "LiteRT",
    "openvino": "OpenVINO",
    "opensearch": "OpenSearch",
    "elasticsearch": "Elasticsearch",
    "solr": "Solr",
    "vespa": "Vespa",
}
"""The class of each format by its key, which is the name of its module."""


def get_format(key: str) -> ExportFormat:
    """The format of a key.

    Raises:
        UserError: for an unknown key, with the nearest one.
    """
    if key not in FORMATS:
        raise UserError(unknown_name("format", key, list(FORMATS)))
    module = importlib.import_module(f"{__name__}.{key}")
    return getattr(module, FORMATS[key])()  # type: ignore[no-any-return]
