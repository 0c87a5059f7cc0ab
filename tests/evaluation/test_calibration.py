"""Calibration against scikit-learn, and where there is none."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from ml4ir_losses.evaluation.calibration import Calibration, curve
from ml4ir_losses.evaluation.scored_lists import ScoredLists


def lists(labels, probabilities, sizes):
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    ids = np.arange(len(sizes)).astype(str)
    documents = np.arange(len(labels)).astype(str)
    return ScoredLists(ids, offsets, np.array(labels, float), probabilities, documents, probabilities=probabilities)


@pytest.mark.parametrize("spread", [1.0, 6.0])
def test_curves_equal_those_of_scikit_learn(spread):
    rng = np.random.default_rng(0)
    probabilities = (1 / (1 + np.exp(-spread * rng.standard_normal(500)))).astype("float32")
    labels = (rng.random(500) < probabilities**1.5).astype(float)
    calibration = Calibration("document")
    for part in np.split(np.arange(500), 5):
        calibration.add(lists(labels[part], probabilities[part], [25] * 4))
    result = calibration.result()
    assert result.brier == pytest.approx(brier_score_loss(labels, probabilities), rel=1e-6)
    for found, strategy in ((result.equal_width, "uniform"), (result.equal_mass, "quantile")):
        observed, predicted = calibration_curve(labels, probabilities.astype(float), n_bins=10, strategy=strategy)
        assert found.observed == pytest.approx(observed)
        assert found.predicted == pytest.approx(predicted)
        assert sum(found.count) == 500
        expected = sum(n * abs(o - p) for n, o, p in zip(found.count, observed, predicted, strict=True)) / 500
        assert found.error == pytest.approx(expected)


def test_perfectly_calibrated_constant_has_no_error():
    found = curve(np.array([1.0, 0.0, 0.0, 1.0]), np.full(4, 0.5))
    assert found.error == 0
    assert found.count == [4]


def test_choices_count_queries_with_one_relevant_document_only():
    probabilities = np.array([0.7, 0.3, 0.5, 0.5, 0.9, 0.1])
    calibration = Calibration("choice")
    calibration.add(lists([1, 0, 1, 1, 0, 0], probabilities, [2, 2, 2]))
    result = calibration.result()
    assert (result.documents, result.queries_left_out) == (2, 2)
    assert result.brier == pytest.approx(0.09)
    calibration = Calibration("choice")
    calibration.add(lists([0, 0], probabilities[:2], [2]))
    assert calibration.result() == "no query has exactly one relevant document"


def test_other_labels_than_0_and_1_are_the_reason():
    calibration = Calibration("document")
    calibration.add(lists([1, 0], np.array([0.5, 0.5]), [2]))
    calibration.add(lists([1, 3], np.array([0.5, 0.5]), [2]))
    assert calibration.result() == "the labels are not all 0 or 1 (3 among them)"
