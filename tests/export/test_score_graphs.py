"""The numeric core of ranking models: portable operations, Keras' values, ranks."""

import numpy as np
import pytest

from export import all_kinds
from ml4ir_losses.data.memory import memory_table
from ml4ir_losses.export.checking import check
from ml4ir_losses.export.features import score_graph
from ml4ir_losses.export.samples import list_cases

pytestmark = pytest.mark.backend("tensorflow")
NOT_PORTABLE = {
    *("If", "StatelessIf", "While", "StatelessWhile", "Where", "InvertPermutation", "Erfinv", "PyFunc"),
    *("LookupTableFindV2", "StringToHashBucketFast", "ScatterNd", "TensorScatterUpdate", "RaggedTensorToTensor"),
}
PAIR = {
    **{"name": "pair", "type": "text_pair", "query": "device", "document": ["title", "brand"]},
    **{"max_length": 9, "max_query_length": 2},
}
ENCODER = {"key": "transformer", "embedding_dim": 4, "num_layers": 1, "num_heads": 1, "max_length": 9}
MODELS = {
    "all kinds": {"inputs": all_kinds.INPUTS},
    "gam": {"inputs": all_kinds.INPUTS, "architecture": "gam"},
    "several logits": {
        "inputs": all_kinds.INPUTS[:1],
        "architecture": "dnn",
        "loss": {"key": "ordinal", "ordinal_size": 3},
    },
    "cross-encoder": {
        "inputs": [PAIR, *all_kinds.INPUTS[6:8]],
        "architecture": {"key": "cross_encoder", "encoder": ENCODER},
    },
}


def traced(graph):
    import tensorflow as tf

    specs = {name: tf.TensorSpec(info.shape, info.dtype) for name, info in graph.inputs.items()}
    return tf.function(graph.function, input_signature=[specs], autograph=False).get_concrete_function()


@pytest.mark.parametrize("name", MODELS)
def test_score_graph_is_portable_and_gives_what_keras_gives(name):
    model = all_kinds.model(**MODELS[name])
    graph = score_graph(model)
    function = traced(graph)
    operations = {o.type for o in function.graph.get_operations()}
    assert not operations & NOT_PORTABLE
    assert not function.graph.as_graph_def().library.function
    cases = list_cases(model, "score", [graph], memory_table(all_kinds.rows(seed=1)))
    checked = check(
        cases, {"model": lambda x: function({n: np.asarray(v, graph.inputs[n].dtype) for n, v in x.items()})}
    )
    assert checked.same_order == 1.0
