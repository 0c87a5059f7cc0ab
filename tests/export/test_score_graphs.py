"""The numeric core of ranking models: portable operations, Keras' values, ranks."""

import keras
import numpy as np
import pytest

from export import all_kinds
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.data.memory import memory_table
from ml4ir_losses.export.checking import check
from ml4ir_losses.export.features import score_graph
from ml4ir_losses.export.formats.conversion import concrete_function, original
from ml4ir_losses.export.samples import Case, list_cases
from selection import slow_except

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
    """What converters are given, and a function that runs it by the names of the graph."""
    function = concrete_function(graph)

    def run(x):
        inputs = (keras.ops.convert_to_tensor(x[name], info.dtype) for name, info in graph.inputs.items())
        outputs = function(*inputs)
        return {original(name, graph.outputs): value for name, value in outputs.items()}

    return function, run


@pytest.mark.parametrize("name", slow_except(MODELS, "all kinds", "cross-encoder"))
def test_score_graph_is_portable_and_gives_what_keras_gives(name):
    model = all_kinds.model(**MODELS[name])
    graph = score_graph(model)
    function, run = traced(graph)
    operations = {o.type for o in function.graph.get_operations()}
    assert not operations & NOT_PORTABLE
    assert not function.graph.as_graph_def().library.function
    cases = list_cases(model, "score", [graph], memory_table(all_kinds.rows(seed=1)))
    checked = check(cases, {"model": run})
    assert checked.same_order == 1.0


def test_ranks_of_ties_follow_the_position_and_padding_has_rank_0():
    model = all_kinds.model([{"name": "stock", "type": "numeric", "missing": "zero"}], "linear")
    graph = score_graph(model)
    stock, mask = np.array([[2, 1, 2, 9, 1, np.nan]], "float32")[..., None], np.array([[1, 1, 1, 0, 1, 1]], "float32")
    model.scorer.set_weights([np.ones_like(w) for w in model.scorer.get_weights()])
    outputs = traced(graph)[1]({"stock": stock, "mask": mask})
    assert outputs["rank"].numpy().tolist() == [[1, 3, 2, 0, 4, 5]]


def cases(logits, valid, **expected):
    logits, valid = np.array([logits], "float32"), np.array([valid], bool)
    return [Case("model", 3, {}, {"logit": logits, **expected}, valid)]


def test_check_measures_relative_to_values_above_1_and_counts_the_pairs_in_order():
    outputs = {"logit": np.array([[100.0005, 0.5, 0.500005, np.nan]]), "rank": np.array([[1, 3, 2, 0]])}
    checked = check(cases([100.0, 0.5, 0.4999999, 7.0], [1, 1, 1, 0]), {"model": lambda x: outputs}, None)
    assert checked.differences == {3: pytest.approx(5.1e-6, rel=1e-2)}
    assert checked.same_order == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"logit": [[1.0, 2.00003, 0.0]]}, "'logit' differs from Keras' by 1.5e-05, and at most 1e-05 is allowed"),
        ({"logit": [[1.0, np.nan, 0.0]]}, "'logit' differs from Keras' by nan"),
        ({"logit": [[1.0, 2.0]]}, "'logit' has another shape than in Keras"),
        ({"score": [[1.0, 2.0, 0.0]]}, "'logit' is missing"),
        ({"logit": [[1.0, 2.0, 0.0]], "rank": [[1, 2, 3]]}, "the ranks are not those of the raw scores"),
        (ZeroDivisionError("no such operation"), "the runtime fails .no such operation."),
    ],
    ids=["difference", "not finite", "shape", "missing", "ranks", "runtime"],
)
def test_check_refuses_wrong_outputs(outputs, message):
    def run(inputs):
        if isinstance(outputs, Exception):
            raise outputs
        return {name: np.array(value, "float32") for name, value in outputs.items()}

    with pytest.raises(UserError, match=f"graph 'model' at 3 documents: .*{message}.*; nothing was written"):
        check(cases([1.0, 2.0, 0.0], [1, 1, 1]), {"model": run})
