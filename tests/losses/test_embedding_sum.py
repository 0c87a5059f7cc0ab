"""Weighted sums of embedding losses."""

import numpy as np
import pytest

from ml4ir_losses import get_loss

Y = np.array([1.0, 0.0, 1.0, 0.0])
X = np.random.default_rng(0).normal(size=(4, 2, 6)).astype("float32")


def value(spec):
    return float(get_loss(spec).get_loss_fn()(Y, X))


@pytest.mark.parametrize(
    "weights",
    [
        {"multiple_negatives_ranking": 1.0, "global_orthogonal_regularization": 0.5},
        {"cosent": 0.25, "global_orthogonal_regularization": 2.0},
        {"multiple_negatives_ranking": 1.0, "contrastive": 3.0},
    ],
)
def test_value_is_the_weighted_sum(weights):
    expected = sum(weight * value(key) for key, weight in weights.items())
    assert value(weights) == pytest.approx(expected, rel=1e-5)
    again = get_loss(get_loss(weights).get_config())
    assert float(again.get_loss_fn()(Y, X)) == pytest.approx(expected, rel=1e-5)


def test_sum_asks_for_what_its_parts_need():
    plain = get_loss({"multiple_negatives_ranking": 1.0, "global_orthogonal_regularization": 1.0})
    assert plain.text_columns == (2, None)
    assert plain.default_batching(False) == "no_duplicates"
    assert not plain.needs_labels(2)
    labelled = get_loss({"multiple_negatives_ranking": 1.0, "contrastive": 1.0})
    assert labelled.text_columns == (2, 2)
    assert labelled.labels == get_loss("contrastive").labels
    assert labelled.needs_labels(2)


def test_mini_batch_size_is_that_of_the_parts():
    cached = {"key": "cached_multiple_negatives_ranking", "mini_batch_size": 3}
    losses = [[cached, 1.0], ["global_orthogonal_regularization", 1.0]]
    assert get_loss({"key": "embedding_sum", "losses": losses}).cached_batch_size == 3


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            {"multiple_negatives_ranking": 1.0, "listnet": 1.0},
            r"cannot be added\. Received: multiple_negatives_ranking \(embedding\), listnet \(listwise\)\.",
        ),
        (
            {"cosent": 1.0, "contrastive": 1.0},
            r"Only one loss .* can read labels\. Received: 'cosent' and 'contrastive'",
        ),
        ({"denoising_auto_encoder": 1.0, "cosent": 1.0}, r"'denoising_auto_encoder' reads the outputs of a head"),
        ({"adaptive_layer": 1.0}, r"'adaptive_layer' needs the parameter 'loss'"),
    ],
)
def test_parts_that_do_not_fit_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        get_loss(weights)
