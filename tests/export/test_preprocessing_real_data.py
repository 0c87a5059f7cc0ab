"""The reader of `preprocessing.json` on real data, where they are: the arrays of training."""

import json

import numpy as np
import pytest

from markdown_blocks import ROOT
from ml4ir_losses.config.inputs import FeatureConfig
from ml4ir_losses.data.readers import read_table
from ml4ir_losses.export.preprocessing import load
from ml4ir_losses.export.preprocessing_spec import input_spec
from ml4ir_losses.features.fitting import encode_rows, fit_inputs

DATA = ROOT.parent / "shared" / "data"
TEXTS = [
    {"name": "title", "type": "text", "max_vocabulary": 500, "ngrams": [3, 5], "num_buckets": 5000},
    {"name": "words", "type": "text", "column": "text", "max_length": 200},
    {"name": "authors", "type": "categorical", "column": "author", "separator": " and ", "max_vocabulary": 300},
    {"name": "author", "type": "categorical", "min_count": 2, "oov_buckets": 10},
    {"name": "bib", "type": "categorical", "encoding": "hash"},
    {"name": "abstract", "type": "categorical", "column": "text", "encoding": "hash", "num_buckets": 10_000},
    {"name": "author_bib", "type": "cross", "columns": ["author", "bib"]},
    {"name": "pair", "type": "text_pair", "query": "title", "document": ["author", "text"], "max_length": 128},
]
FILES = {"cranfield/docs.tsv": TEXTS, "ltr/train.txt": [{"name": "all", "column": "f*", "type": "numeric"}]}
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data")]


@pytest.mark.parametrize("file", FILES)
def test_arrays_are_those_of_training(file):
    table = read_table(str(DATA / file))
    inputs = fit_inputs(FeatureConfig.model_validate({"inputs": FILES[file]}), table)
    spec = json.loads(json.dumps({"version": 1, "inputs": [input_spec(fitted) for fitted in inputs]}))
    rows = json.loads(json.dumps(table.to_arrow().to_pylist()))
    arrays = load(spec).lists([{"documents": rows[start : start + 100]} for start in range(0, len(rows), 100)])
    mask = arrays["mask"] > 0
    for name, expected in encode_rows(inputs, table).arrays.items():
        assert arrays[name].dtype == expected.dtype
        np.testing.assert_array_equal(arrays[name][mask], expected)
