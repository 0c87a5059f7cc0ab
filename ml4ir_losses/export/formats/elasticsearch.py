"""The format `elasticsearch`: the files of `opensearch`, whose plugin is a fork of that of Elasticsearch."""

from __future__ import annotations

from ml4ir_losses.export.formats.opensearch import OpenSearch


class Elasticsearch(OpenSearch):
    """The learning-to-rank plugin of Elasticsearch reads the same files."""

    key = "elasticsearch"
