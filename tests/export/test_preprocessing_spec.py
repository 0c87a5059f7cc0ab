"""`preprocessing.json` of whole models: their inputs and tokenizers, and what JSON cannot hold."""

import json
import shutil
import subprocess

import numpy as np
import pytest

from markdown_blocks import blocks
from ml4ir_losses.config.text_schema import TextConfig, TextTask
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.export.preprocessing import load
from ml4ir_losses.export.preprocessing_spec import input_spec, preprocessing_spec, tokenizer_spec
from ml4ir_losses.features.hashing import hashed
from ml4ir_losses.features.kinds import KINDS, load_fitted
from ml4ir_losses.model.cross_encoder import CrossEncoderModel
from ml4ir_losses.model.embedding_model import EmbeddingModel
from ml4ir_losses.model.relevance_model import RelevanceModel
from ml4ir_losses.text.hub_tokenizer import HubTokenizer
from ml4ir_losses.text.tokenizers import Tokenizer, WordTokenizer

PAGE = "docs/preprocessing.md"
WORDS = ["red", "shoe", "hat"]
INPUTS = [
    {"name": "price", "type": "numeric", "columns": ["price"], "fill": [0.5]},
    {"name": "brand", "type": "categorical", "columns": ["brand"], "vocabulary": ["a", "b"], "num_buckets": 2},
    {
        "name": "tags",
        "type": "categorical",
        "columns": ["tags"],
        "vocabulary": WORDS,
        "pooling": "sum",
        "max_values": 3,
    },
    {"name": "age", "type": "numeric", "columns": ["age"], "fill": [0.0], "scope": "query"},
    {"name": "title", "type": "text", "columns": ["title"], "vocabulary": WORDS, "max_length": 4},
]
PAIR = {
    "name": "pair",
    "type": "text_pair",
    "columns": ["search", "title"],
    "vocabulary": WORDS,
    "max_length": 6,
    "max_query_length": 2,
}
REQUESTS = [
    {
        "query": {"age": 3, "search": "Red hat!"},
        "documents": [
            {"price": 2, "brand": "a", "tags": ["red", "new"], "title": "red shoe"},
            {"price": None, "brand": "z", "title": "a hat"},
        ],
    },
    {"query": {"age": 5, "search": ""}, "documents": [{"price": 1.5, "tags": [], "title": ""}]},
]


def loaded(model):
    """The preprocessor of the JSON text."""
    return load(json.loads(json.dumps(preprocessing_spec(model), allow_nan=False)))


def test_model_scores_requests_as_it_scores_rows():
    model = RelevanceModel(INPUTS, {"architecture": {"key": "dnn", "hidden_units": [4]}, "loss": "list_mle"})
    arrays = loaded(model).lists(REQUESTS)
    example = model.example(2, 2)
    assert {name: (x.shape, x.dtype) for name, x in arrays.items()} == {
        name: (x.shape, x.dtype) for name, x in example.items()
    }
    rows = [{"query_id": q, **one["query"], **d} for q, one in enumerate(REQUESTS) for d in one["documents"]]
    columns = {name: [row.get(name) for row in rows] for name in ("query_id", *(one["name"] for one in INPUTS))}
    expected = model.predict_rows(columns)
    scores = np.asarray(model.predict_on_batch(arrays)["score"])
    np.testing.assert_allclose(scores[arrays["mask"] > 0], expected, rtol=1e-5)


def test_cross_encoder_reads_pairs_and_features():
    spec = {"architecture": {"key": "cross_encoder", "encoder": {"key": "bag_of_words", "embedding_dim": 4}}}
    model = CrossEncoderModel([PAIR, *INPUTS], {**spec, "loss": "list_mle"})
    preprocessor = loaded(model)
    arrays = preprocessor.lists(REQUESTS)
    assert arrays["pair"].tolist() == [[[2, 4, 5, 2, 3], [2, 4, 5, 1, 4]], [[5, 0, 0, 0, 0], [0, 0, 0, 0, 0]]]
    queries, documents = ["Red hat!", "shoe"], ["red shoe", ""]
    np.testing.assert_array_equal(preprocessor.pairs(queries, documents), model.tokenizer.padded(queries, documents))
    assert np.isfinite(np.asarray(model.predict_on_batch(arrays)["score"])).all()


def test_bi_encoder_reads_texts():
    loss = "multiple_negatives_ranking"
    config = {
        "data": {"train": "x", "columns": {"anchor": "a", "positive": "b"}},
        "model": {"architecture": {"key": "bi_encoder", "encoder": {"key": "bag_of_words"}}, "loss": loss},
    }
    task, tokenizer = TextTask(loss=loss, columns=2, classes=[]), WordTokenizer(WORDS, 4, "split", 3)
    model = EmbeddingModel.make(TextConfig.model_validate(config), tokenizer, {"main": task})
    texts = ["red-hats", "", "a shoe red red red"]
    np.testing.assert_array_equal(loaded(model).ids(texts), model.tokenizer.padded(texts))


class Letters(Tokenizer):
    """A tokenizer of a user."""


@pytest.mark.parametrize(
    ("tokenizer", "message"),
    [(HubTokenizer(None, 8), "the tokenizer of a KerasHub preset"), (Letters(), "Letters")],
)
def test_tokenizer_that_json_cannot_hold_says_what_to_use(tokenizer, message):
    with pytest.raises(UserError, match=f"{message}.* cannot be written as JSON.*SavedModel.*takes strings") as error:
        tokenizer_spec(tokenizer)
    assert "\n" not in str(error.value)


def test_documented_example_is_what_the_reader_reads():
    """Every field of the page, and every type of input."""
    spec = json.loads(blocks(PAGE, "json")[0][1])
    assert {one["type"] for one in spec["inputs"]} == set(KINDS)
    example = [{"query": {"device": "phone", "search": "Mug"}, "documents": [{"brand": "acme", "title": "red mug"}]}]
    arrays = {name: x[0].tolist() for name, x in load(spec).lists(example).items()}
    assert arrays["brand"] == [1]
    assert arrays["device"] == 2
    assert arrays["title"][0][:5] == [3, 2, 0, 0, 4 + hashed(["<re"], 1000)[0]]
    assert arrays["pair"] == [[2, 4, 3, 2]]
    assert arrays["brand_device"] == hashed(["acme\x1fphone"], 1000).tolist()


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_documented_javascript_gives_the_arrays_of_the_reader():
    inputs = [one for one in INPUTS if one["name"] in ("price", "age")]
    inputs += [{"name": "brand", "type": "categorical", "columns": ["brand"], "vocabulary": ["b", "a"]}]
    inputs += [{**inputs[-1], "name": "device", "columns": ["device"], "scope": "query"}]
    spec = {"version": 1, "inputs": [input_spec(fitted) for fitted in load_fitted(inputs)]}
    program = blocks(PAGE, "javascript")[0][1] + (
        "const { spec, requests } = JSON.parse(require('fs').readFileSync(0));"
        "console.log(JSON.stringify(lists(spec, requests)));"
    )
    requests = [
        {"query": {"age": 5, "device": "a"}, "documents": [{"brand": "a", "price": 3}, {"brand": "new", "price": 1.5}]},
        {"query": {}, "documents": [{}]},
        {"query": {"device": "b"}, "documents": []},
    ]
    given = json.dumps({"spec": spec, "requests": requests})
    result = subprocess.run(["node", "-e", program], input=given, capture_output=True, text=True, check=True)
    arrays = load(spec).lists(requests)
    by_node = json.loads(result.stdout)
    assert by_node.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(np.array(by_node[name], float), array)  # JSON has null for NaN
