"""What words add to the scores of texts, against a loop over all orders and models whose scores are known."""

from itertools import permutations

import numpy as np
import pytest

from ml4ir_losses.core.errors import DataError, UserError
from ml4ir_losses.experiments.explaining import explain
from ml4ir_losses.experiments.explaining_texts import explain_texts
from ml4ir_losses.experiments.train import train
from small_texts import config, write_texts

WEIGHTS = {"wing": 2.0, "flow": 0.5, "heat": -1.0}
VECTORS = {word: np.random.default_rng(i).normal(size=4) for i, word in enumerate(["wing", "flow", "heat", "slab"])}


class Weighted:
    """A cross-encoder whose logit is a bias and the sum of the weights of the document's words."""

    def score_pairs(self, queries, documents, batch_size=256):
        return np.array([0.25 + sum(WEIGHTS.get(word.lower(), 0.0) for word in text.split()) for text in documents])


class Bag:
    """A bi-encoder: the sum of the vectors of the words."""

    def __init__(self, sparse):
        self.sparse = sparse

    def encode(self, texts, column="anchor", batch_size=256):
        zero = np.zeros(4)
        return np.array([sum((VECTORS[word] for word in text.split()), zero) for text in texts], "float32")


def similarity(model, query, text):
    a, b = model.encode([query, text]).astype("float64")
    if model.sparse:
        return a @ b
    return a @ b / (np.linalg.norm(a) * np.linalg.norm(b)) if text else 0.0


def mean_over_all_orders(model, query, text):
    """What each word of a text without repeated words adds, averaged over all orders."""
    words = text.split()
    total, orders = dict.fromkeys(words, 0.0), list(permutations(words))

    def value(kept):
        return similarity(model, query, " ".join(word for word in words if word in kept))

    for order in orders:
        for place, word in enumerate(order):
            total[word] += value(order[: place + 1]) - value(order[:place])
    return {word: value / len(orders) for word, value in total.items()}


def test_words_of_a_sum_add_their_weights_times_their_occurrences():
    texts = ["Wing flow wing", "heat unknown", "flow"]
    found = explain_texts(Weighted(), "any", texts, [0, 1])
    assert found.documents == ["1", "2"]
    assert dict(found.why()) == pytest.approx({"wing": 4.0, "flow": 0.5, "heat": 1.0, "unknown": 0.0})
    assert found.logits.tolist() == [4.75, -0.75]
    assert found.ranks.tolist() == [1, 3]
    assert found.cells == [["2×", "yes", "", ""], ["", "", "yes", "yes"]]
    np.testing.assert_allclose(found.errors, 0.0, atol=1e-12)


@pytest.mark.parametrize("sparse", [False, True])
def test_words_of_a_bi_encoder_add_their_shapley_values(sparse):
    model, texts = Bag(sparse), ["wing flow heat slab", "slab flow heat"]
    found = explain_texts(model, "wing heat", texts, [0, 1])
    exact = [mean_over_all_orders(model, "wing heat", text) for text in texts]
    for feature, difference, error in zip(found.features, found.contributions[0], found.errors[0], strict=True):
        expected = exact[0].get(feature, 0.0) - exact[1].get(feature, 0.0)
        assert abs(difference - expected) <= 4 * error + 1e-6
    assert found.contributions[0].sum() == pytest.approx(found.logits[0] - found.logits[1], abs=1e-6)
    assert found.logits == pytest.approx([similarity(model, "wing heat", text) for text in texts], abs=1e-6)


def test_the_first_two_are_compared_and_an_empty_text_has_no_words():
    found = explain_texts(Weighted(), "any", ["heat", "", "wing"])
    assert found.documents == ["3", "2"]
    assert dict(found.why()) == pytest.approx({"wing": 2.0})


@pytest.mark.backend("tensorflow")
def test_a_run_on_texts_explains_documents_of_a_file(tmp_path, run, eager_steps):
    write_texts(tmp_path)
    trained = train(config(tmp_path, "multiple_negatives_ranking", training={"epochs": 1}), tmp_path / "run").path
    data = str(tmp_path / "docs.csv")
    arguments = ["explain", trained, "--data", data, "--query", "wing flow", "--document-id", "doc_id"]
    code, out, _ = run(*arguments, "--documents", "0", "5")
    assert code == 0
    assert out.startswith("query wing flow: why 0 (rank ")
    code, _, error = run(*arguments, "--method", "shap")
    assert code == 2
    assert "is explained by the method permutation" in error
    with pytest.raises(DataError, match=r"there is no document '40' to rank\. Did you mean"):
        explain(trained, data, "wing", ["0", "40"], document_id="doc_id")


def test_a_model_that_scores_no_texts_is_refused():
    with pytest.raises(UserError, match="takes a model that embeds texts or scores pairs"):
        explain_texts(object(), "a", ["b", "c"])
