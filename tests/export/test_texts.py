"""Graphs of text models: token ids and strings give what `encode`, `score_pairs` and Keras give."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from ml4ir_losses.core.errors import DataError, UserError
from ml4ir_losses.data.memory import memory_table
from ml4ir_losses.export import texts
from ml4ir_losses.export.checking import check
from ml4ir_losses.export.exporting import Exported
from ml4ir_losses.export.formats import get_format
from ml4ir_losses.export.model_graphs import cases_of, facts_of, graphs_of, sample_rows
from ml4ir_losses.export.text_samples import embedding_cases, pair_cases, texts_of
from ml4ir_losses.text.hub_tokenizer import HubTokenizer
from model.test_cross_encoder import PAIR, WORDS, build
from model.test_embedding_model import BAG, make
from selection import slow_except
from small import write_splits

pytestmark = pytest.mark.backend("tensorflow")
RANKING = "multiple_negatives_ranking"
CNN = {"key": "cnn", "filters": [5]}
SPLADE = {"key": "splade", "loss": RANKING, "document_regularizer_weight": 0.01}
CLASSES = ["no", "perhaps", "yes"]
MODELS = {
    "shared": lambda: make(RANKING),
    "two encoders": lambda: make(RANKING, CNN, shared=False),
    "splade": lambda: make(SPLADE, {"key": "splade", "encoder": CNN}),
    "csr": lambda: make({"key": "csr", "loss": RANKING}, {"key": "csr", "k": 4, "encoder": BAG}),
    "matryoshka": lambda: make({"key": "matryoshka", "loss": RANKING, "dims": [6, 3]}),
    "denoising": lambda: make("denoising_auto_encoder", BAG, "denoising_auto_encoder", columns=1, num_heads=2),
    "classes": lambda: make({"key": "pair_softmax", "num_labels": 3}, architecture="pair_classifier", classes=CLASSES),
}


def run(graphs):
    """The graphs' functions as runners of NumPy arrays."""

    def runner(graph):
        types = {name: info.dtype for name, info in graph.inputs.items()}

        def call(inputs):
            outputs = graph.function({name: tf.constant(value, types[name]) for name, value in inputs.items()})
            return {name: np.asarray(value) for name, value in outputs.items()}

        return call

    return {graph.name: runner(graph) for graph in graphs}


@pytest.mark.parametrize("name", slow_except(MODELS, "two encoders", "splade", "classes"))
def test_token_ids_and_strings_are_embedded_as_encode_does(name):
    model = MODELS[name]()
    rows = sample_rows(model)
    ids, strings = texts.embedding_graphs(model), texts.embedding_signatures(model)
    for graphs in (ids, strings):
        checked = check(embedding_cases(model, graphs, rows), run(graphs))
        assert checked.differences.keys() == {1, 7, 1000}
    extra = ["pair"] if name == "classes" else []
    assert [graph.name for graph in ids] == [*(["query", "document"] if name == "two encoders" else ["text"]), *extra]
    for graph in (*ids, *strings):
        for info in graph.outputs.values():
            assert info.shape[1] == (3 if "probability" in graph.outputs else model.towers.output_width)


def test_record_names_classes_and_dimensions():
    saved_model, opensearch = get_format("saved_model"), get_format("opensearch")
    matryoshka, classes = MODELS["matryoshka"](), MODELS["classes"]()
    assert facts_of(matryoshka, saved_model) == {"requires": [], "dims": [3, 6]}
    assert facts_of(classes, saved_model) == {"requires": [], "classes": CLASSES}
    with pytest.raises(UserError, match="opensearch: takes a ranking model"):
        graphs_of(classes, opensearch)


def test_measured_differences_of_texts_have_no_order():
    exported = Exported(Path("pairs"), "onnx", "score", [], {1: 0.01}, None, "made-up texts", None)
    assert str(exported) == "largest difference from Keras by number of documents: 0.01 at 1; on made-up texts"


def test_texts_without_words_are_embedded():
    model = MODELS["two encoders"]()
    query = run(texts.embedding_signatures(model))["embed_query"]
    found = query({"texts": np.array(["?!", ""], object)})["embedding"]
    np.testing.assert_allclose(found, model.encode(["?!", ""]), atol=1e-6)


def test_model_needs_the_operations_of_its_tokenizer():
    hub = HubTokenizer(None, 8)
    assert texts.has_subwords(SimpleNamespace(tokenizer=hub))
    assert not texts.has_subwords(MODELS["shared"]())


def test_data_without_texts_are_refused():
    assert texts_of(memory_table({"a": ["x y", "x y"], "b": [1, 2], "c": ["", "z"]})) == ["x y", "", "z"]
    with pytest.raises(DataError, match="no column holds texts"):
        texts_of(memory_table({"number": [1, 2]}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_splits(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize(
    ("loss", "outputs"),
    [
        ("softmax_cross_entropy", {"logit"}),
        pytest.param("sigmoid_cross_entropy", {"logit", "score"}, marks=pytest.mark.slow),
        ("categorical_cross_entropy", {"logit", "score", "probability"}),
    ],
)
def test_cross_encoder_scores_pairs_and_strings_as_keras_does(folder, loss, outputs):
    architecture = {"num_outputs": 4} if loss.startswith("categorical") else {}
    model, _, _ = build(folder, inputs=[PAIR], loss=loss, encoder=WORDS, architecture=architecture)
    rows = sample_rows(model)
    pair = texts.pair_graph(model)
    assert pair.outputs.keys() == outputs
    assert check(pair_cases(model, pair, rows), run([pair])).differences.keys() == {1, 7, 1000}
    saved_model = get_format("saved_model")
    graphs = graphs_of(model, saved_model)
    assert graphs[0].inputs.keys() == {"segment", "title", "brand"}
    assert ("probability" in graphs[0].outputs) == ("probability" in outputs)
    assert check(cases_of(model, saved_model, graphs, rows), run(graphs)).differences[1000] < 1e-5
