"""scikit-learn's conventions: its own checks of estimators, cross-validation, grid search, metadata routing."""

from unittest import SkipTest

import numpy as np
import pytest
from sklearn import config_context
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator
from sklearn.utils.validation import _num_samples

from ml4ir_losses import Ranker
from selection import slow_except

pytestmark = [pytest.mark.usefixtures("eager_steps"), pytest.mark.backend("tensorflow")]


def small(kind=Ranker, **parameters):
    defaults = {"loss": "mean_squared_error", "hidden_units": [4], "epochs": 1, "random_state": 1}
    return kind(**defaults | parameters)


class TenRows(Ranker):
    """A ranker whose queries are ten rows in sequence unless they are given: the checks give none."""

    def fit(self, X, y, *, qid=None, sample_weight=None):
        return super().fit(X, y, qid=in_tens(X) if qid is None else qid, sample_weight=sample_weight)

    def score(self, X, y, qid=None):
        return super().score(X, y, qid=in_tens(X) if qid is None else qid)


def in_tens(X):
    return np.arange(_num_samples(X)) // 10


LISTS = "a row that is repeated or removed changes the list of its query, and with it the batches"
FAILS = {
    "check_sample_weight_equivalence_on_dense_data": LISTS,
    "check_sample_weight_equivalence_on_sparse_data": LISTS,
}
"""The checks that do not apply to rankers, with the reason."""

CHECKS = {}
for _estimator, _check in estimator_checks_generator(small(TenRows)):
    _name = _check.func.__name__ + "".join(f"-{k}" for k, value in _check.keywords.items() if value is True)
    CHECKS[_name] = (_estimator, _check)


APPLY = [name for name in CHECKS if name not in FAILS]
SPARSE = ("check_estimator_sparse_array", "check_estimator_sparse_matrix")  # of seven formats each


@pytest.mark.parametrize("name", slow_except(APPLY, *(name for name in APPLY if name not in SPARSE)))
def test_checks_of_estimators(name):
    estimator, check = CHECKS[name]
    try:
        check(estimator)
    except SkipTest as reason:
        pytest.skip(str(reason))


def test_the_checks_left_out_exist():
    assert set(FAILS) < set(CHECKS)


def make_data(queries=12, size=5):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(queries * size, 3))
    y = np.clip(np.round(X[:, 0] + 1), 0, 2)
    return X, y, rng.permutation(np.repeat(np.arange(queries), size))


X, Y, QID = make_data()
FOLDS = GroupKFold(2)


def test_cross_validation_by_query_with_metadata_routing():
    with config_context(enable_metadata_routing=True):
        ranker = small().set_fit_request(qid=True).set_score_request(qid=True)
        scores = cross_val_score(ranker, X, Y, cv=FOLDS, params={"qid": QID, "groups": QID})
    expected = []
    for train, test in FOLDS.split(X, Y, QID):
        expected.append(small().fit(X[train], Y[train], qid=QID[train]).score(X[test], Y[test], qid=QID[test]))
    np.testing.assert_allclose(scores, expected, rtol=1e-5)


def test_grid_search_with_groups_and_metadata_routing():
    grid = {"loss": ["list_mle", {"key": "pairwise_logistic", "temperature": 0.5}]}
    with config_context(enable_metadata_routing=True):
        ranker = small().set_fit_request(qid=True).set_score_request(qid=True)
        search = GridSearchCV(ranker, grid, cv=FOLDS, error_score="raise").fit(X, Y, groups=QID, qid=QID)
    assert search.best_params_["loss"] in grid["loss"]
    assert 0 < search.best_score_ <= 1
    assert search.best_estimator_.predict(X).shape == (60,)


def test_grid_search_without_metadata_routing_takes_the_queries_from_the_column_qid():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abc")).assign(qid=QID)
    search = GridSearchCV(small(), {"epochs": [1, 2]}, cv=FOLDS, error_score="raise").fit(frame, Y, groups=QID)
    assert set(search.best_estimator_.feature_names_in_) == {"a", "b", "c"}
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_predictions_of_a_cross_validation_are_those_of_its_folds():
    scores = cross_val_predict(small(), X, Y, groups=QID, cv=FOLDS, params={"qid": QID})
    for train, test in FOLDS.split(X, Y, QID):
        expected = small().fit(X[train], Y[train], qid=QID[train]).predict(X[test])
        np.testing.assert_allclose(scores[test], expected, rtol=1e-5, atol=1e-6)


def test_pipeline_passes_the_queries():
    with config_context(enable_metadata_routing=True):
        ranker = small(transforms=()).set_fit_request(qid=True)
        pipeline = make_pipeline(StandardScaler(), ranker).fit(X, Y, qid=QID)
    expected = small(transforms=()).fit(StandardScaler().fit_transform(X), Y, qid=QID)
    np.testing.assert_allclose(pipeline.predict(X), expected.predict(StandardScaler().fit_transform(X)), rtol=1e-5)
