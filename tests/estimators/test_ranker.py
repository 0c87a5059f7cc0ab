"""`Ranker`: the models of `train`, behind the interface of LightGBM's and XGBoost's rankers."""

import copy
import csv
import pickle
import re
from functools import cache

import numpy as np
import pytest
import yaml
from sklearn.base import clone
from sklearn.exceptions import DataConversionWarning, NotFittedError

from ml4ir_losses import Ranker, evaluate, train
from ml4ir_losses.config.load import load_config
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.estimators.rows import rows_of
from ml4ir_losses.estimators.settings import config_of
from ml4ir_losses.functional import ndcg

pytestmark = pytest.mark.usefixtures("eager_steps")


def make_data(queries=12, size=6, seed=0):
    """X [rows, 4], grades 0 to 2 that follow two of the columns, and the query of each row."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(queries * size, 4)).astype("float32")
    X[rng.random(X.shape) < 0.05] = np.nan
    y = np.clip(np.round(np.nan_to_num(X[:, 0] - X[:, 2]) + 0.3 * rng.normal(size=len(X))), 0, 2)
    return X, y, np.repeat(np.arange(queries), size)


X, y, QID = make_data()
X_TEST, Y_TEST, QID_TEST = make_data(seed=1)
NAMES = ["price", "age", "bm25", "clicks"]


def small(**parameters):
    defaults = {"hidden_units": [8], "epochs": 2, "learning_rate": 0.02, "batch_size": 4, "random_state": 3}
    return Ranker(**defaults | parameters)


@cache
def trained():
    return small().fit(X, y, qid=QID)


@pytest.fixture
def fitted(eager_steps):
    return trained()


def write(path, X, y, qid):
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow([*NAMES, "grade", "query"])
        for x, label, query in zip(X, y, qid, strict=True):
            rows.writerow([*("" if np.isnan(value) else f"{value:.9g}" for value in x), label, query])


@pytest.mark.parametrize("query_rank", [False, True])
def test_equals_the_model_of_the_same_yaml_config(tmp_path, query_rank):
    for name, rows in (("train", (X, y, QID)), ("validation", (X_TEST, Y_TEST, QID_TEST))):
        write(tmp_path / f"{name}.csv", *rows)
    config = f"""
        data: {{directory: {tmp_path}, train: train.csv, validation: validation.csv, batch_size: 4}}
        features:
          query_id: query
          label: grade
          inputs: [{{name: "[pabc]*", type: numeric, transforms: [robust], query_rank: {str(query_rank).lower()}}}]
        model:
          architecture: {{key: dnn, hidden_units: [8], dropout: 0.1}}
          loss: {{key: approx_ndcg, temperature: 0.5}}
          metrics: [mrr, {{key: ndcg, topn: 5}}]
          optimizer: {{key: sgd, learning_rate: 0.5}}
        training: {{epochs: 3, seed: 11, early_stopping: {{patience: 2}}}}
    """
    run = train(yaml.safe_load(config), tmp_path / "run", progress=False)
    ranker = Ranker(
        {"key": "approx_ndcg", "temperature": 0.5},
        hidden_units=[8],
        dropout=0.1,
        transforms=["robust"],
        query_rank=query_rank,
        metrics=["mrr", {"key": "ndcg", "topn": 5}],
        optimizer="sgd",
        learning_rate=0.5,
        batch_size=4,
        epochs=3,
        early_stopping=2,
        random_state=11,
    )
    ranker.fit(X, y, qid=QID, eval_set=(X_TEST, Y_TEST), eval_qid=QID_TEST)
    expected = run.model.predict_rows(tmp_path / "validation.csv", logits=True)
    np.testing.assert_allclose(ranker.predict(X_TEST, qid=QID_TEST), expected, rtol=1e-5, atol=1e-6)
    assert ranker.score(X_TEST, Y_TEST, QID_TEST) == pytest.approx(run.metrics["validation"]["mrr"])
    with (run.path / "history.csv").open() as file:
        history = list(csv.DictReader(file))
    for place, prefix in (("training", ""), ("validation_0", "val_")):
        for name in ("loss", "mrr", "ndcg_5"):
            logged = [float(row[prefix + name]) for row in history]
            assert ranker.evals_result_[place][name] == pytest.approx(logged, rel=1e-5)


def test_score_is_the_mean_ndcg_at_10(fitted):
    logits = fitted.predict(X_TEST).reshape(12, 6)
    values, weights = ndcg(Y_TEST.reshape(12, 6), logits, np.ones((12, 6), bool), topn=10)
    expected = np.average(np.asarray(values).ravel(), weights=np.asarray(weights).ravel())
    assert fitted.score(X_TEST, Y_TEST, qid=QID_TEST) == pytest.approx(expected)


def test_score_is_negated_where_lower_is_better():
    ranker = small(metrics=["arp"]).fit(X, y, qid=QID)
    assert ranker.score(X, y, qid=QID) < 0


def test_learns():
    assert small(epochs=8, learning_rate=0.05).fit(X, y, qid=QID).score(X_TEST, Y_TEST, qid=QID_TEST) > 0.8


def test_ranks_follow_the_scores_in_each_query(fitted):
    shuffled = np.random.default_rng(0).permutation(len(X))
    scores, ranks = fitted.predict(X)[shuffled], fitted.rank(X[shuffled], qid=QID[shuffled])
    for query in range(12):
        rows = QID[shuffled] == query
        assert sorted(ranks[rows]) == [1, 2, 3, 4, 5, 6]
        np.testing.assert_array_equal(np.argsort(ranks[rows]), np.argsort(-scores[rows]))
    np.testing.assert_array_equal(np.argsort(fitted.rank(X[:6])), np.argsort(-fitted.predict(X[:6])))


@pytest.mark.parametrize("parameters", [{}, {"query_rank": True}], ids=str)
def test_rows_of_a_query_need_not_be_adjacent(parameters):
    interleaved = np.arange(len(X)).reshape(12, 6).T.ravel()  # the first row of each query, then the second, ...
    adjacent = small(**parameters).fit(X, y, qid=QID)
    apart = small(**parameters).fit(X[interleaved], y[interleaved], qid=QID[interleaved])
    expected = adjacent.predict(X, qid=QID)
    np.testing.assert_allclose(apart.predict(X, qid=QID), expected, rtol=1e-5, atol=1e-6)
    found = adjacent.predict(X[interleaved], qid=QID[interleaved])
    np.testing.assert_allclose(found, expected[interleaved], rtol=1e-5, atol=1e-6)


def test_group_and_ids_of_any_type_mean_the_same_queries(fitted):
    expected = fitted.predict(X)
    names = np.array([f"q{q}" for q in QID])
    for queries in ({"group": [6] * 12}, {"qid": names}, {"qid": list(QID.astype(float))}):
        np.testing.assert_array_equal(small().fit(X, y, **queries).predict(X), expected)


def test_every_evaluation_set_is_measured_after_every_epoch():
    ranker = small(epochs=3).fit(X, y, qid=QID, eval_set=[(X, y), (X_TEST, Y_TEST)], eval_group=[[6] * 12, [6] * 12])
    assert set(ranker.evals_result_) == {"training", "validation_0", "validation_1"}
    for name in ("validation_0", "validation_1"):
        assert len(ranker.evals_result_[name]["ndcg_10"]) == 3
    best = int(np.argmax(ranker.evals_result_["validation_1"]["ndcg_10"]))
    assert ranker.best_iteration_ == best
    for name, rows in (("validation_0", (X, y, QID)), ("validation_1", (X_TEST, Y_TEST, QID_TEST))):
        assert ranker.score(*rows) == pytest.approx(ranker.evals_result_[name]["ndcg_10"][best], rel=1e-5)


def test_early_stopping_keeps_the_best_epoch():
    ranker = small(epochs=50, early_stopping=1, learning_rate=3.0)
    ranker.fit(X, y, qid=QID, eval_set=(X_TEST, Y_TEST), eval_qid=QID_TEST)
    assert len(ranker.evals_result_["training"]["loss"]) == ranker.best_iteration_ + 2 < 50


@pytest.mark.parametrize(("role", "weight"), [("weight", 1 + y), ("query_weight", np.linspace(1, 3, 12))])
def test_weights_of_rows_and_of_queries_are_those_of_a_config(fitted, tmp_path, role, weight):
    ranker = small().fit(X, y, qid=QID, sample_weight=weight)
    assert not np.allclose(ranker.predict(X), fitted.predict(X), atol=1e-3)
    config = fitted.config_.model_dump(mode="json")
    config["features"][role] = "w"
    data = {"features": X, "label": y, "qid": QID, "w": weight if len(weight) == len(X) else np.repeat(weight, 6)}
    run = train(config, tmp_path / "run", data=data, progress=False)
    expected = run.model.predict_rows({"features": X, "qid": QID}, logits=True)
    np.testing.assert_allclose(ranker.predict(X), expected, rtol=1e-5, atol=1e-6)


def test_weights_of_zero_are_refused():
    with pytest.raises(ValueError, match="sample_weight: every weight is zero"):
        small().fit(X, y, qid=QID, sample_weight=np.zeros(len(X)))


def frames():
    columns = {name: X[:, i] for i, name in enumerate(NAMES)}
    yield "dict", lambda order: {name: columns[name] for name in order}
    for library in ("pandas", "polars", "pyarrow"):
        yield library, lambda order, library=library: make_frame(library, {name: columns[name] for name in order})


def make_frame(library, columns):
    module = pytest.importorskip(library)
    return module.table(columns) if library == "pyarrow" else module.DataFrame(columns)


@pytest.mark.parametrize(("library", "make"), list(frames()), ids=lambda value: value if isinstance(value, str) else "")
def test_frames_give_the_model_of_the_array_and_keep_their_names(fitted, library, make):
    ranker = small().fit(make(NAMES), y, qid=QID)
    assert list(ranker.feature_names_in_) == NAMES
    np.testing.assert_allclose(ranker.predict(make(NAMES)), fitted.predict(X), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="must be in the same order as they were in fit"):
        ranker.predict(make(NAMES[::-1]))
    with pytest.raises(ValueError, match="Feature names seen at fit time, yet now missing"):
        ranker.predict(make(NAMES[:-1]))
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        np.testing.assert_allclose(ranker.predict(X), fitted.predict(X), rtol=1e-5, atol=1e-6)


def test_array_has_no_names_and_its_number_of_columns_is_checked(fitted):
    assert fitted.n_features_in_ == 4
    assert not hasattr(fitted, "feature_names_in_")
    with pytest.raises(ValueError, match="X has 3 features, but Ranker is expecting 4 features as input"):
        fitted.predict(X[:, :3])


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_strings_and_categories_are_embedded(library):
    module = pytest.importorskip(library)
    rng = np.random.default_rng(0)
    brand = rng.choice(["a", "b", "c"], len(X))
    frame = module.DataFrame({"price": X[:, 1], "brand": brand, "label": brand})
    if library == "pandas":
        frame["brand"] = frame["brand"].astype("category")
    labels = (brand == "a") * 2
    ranker = small(epochs=10).fit(frame, labels, qid=QID)
    assert [(i.name, i.type) for i in ranker.model_.fitted] == [
        ("*", "numeric"),
        ("brand", "categorical"),
        ("label", "categorical"),
    ]
    assert ranker.config_.features.label == "label_"
    assert ranker.score(frame, labels, qid=QID) > 0.95


def test_inputs_say_which_columns_are_read():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"title": ["red hat", "blue", "red"] * 24, "price": X[:, 0]})
    ranker = small(inputs=[{"name": "title", "type": "text", "embedding_dim": 4}]).fit(frame, y, qid=QID)
    scores = ranker.predict(frame)
    frame["price"] = 0.0
    np.testing.assert_array_equal(ranker.predict(frame), scores)


def test_column_qid_of_a_frame_holds_the_queries(fitted):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=NAMES).assign(qid=QID)
    ranker = small().fit(frame, y)
    assert list(ranker.feature_names_in_) == NAMES
    np.testing.assert_allclose(ranker.predict(frame), fitted.predict(X), rtol=1e-5, atol=1e-6)
    assert ranker.score(frame, y) == pytest.approx(fitted.score(X, y, qid=QID))


def test_sparse_matrices_are_read():
    scipy = pytest.importorskip("scipy.sparse")
    dense = np.where(np.nan_to_num(X) > 0, X, 0)
    expected = small().fit(dense, y, qid=QID).predict(dense)
    sparse = scipy.csr_matrix(dense)
    np.testing.assert_array_equal(small().fit(sparse, y, qid=QID).predict(sparse), expected)


def test_copies_and_saved_rankers_give_the_same_scores(fitted, tmp_path):
    expected = fitted.predict(X_TEST)
    fitted.save(tmp_path / "ranker")
    for other in (pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted), Ranker.load(tmp_path / "ranker")):
        np.testing.assert_array_equal(other.predict(X_TEST), expected)
        assert other.evals_result_ == fitted.evals_result_
        assert other.n_features_in_ == 4
        assert other.get_params()["hidden_units"] == [8]
        assert other.fit(X, y, qid=QID).score(X, y, qid=QID) == pytest.approx(fitted.score(X, y, qid=QID))


def test_saved_ranker_is_a_run_that_the_command_line_reads(tmp_path):
    pandas = pytest.importorskip("pandas")
    ranker = small().fit(pandas.DataFrame(X, columns=NAMES), y, qid=QID)
    ranker.save(tmp_path / "ranker")
    pandas.DataFrame(X_TEST, columns=NAMES).assign(label=Y_TEST, qid=QID_TEST).to_csv(tmp_path / "test.csv")
    metrics = evaluate(tmp_path / "ranker", tmp_path / "test.csv").metrics
    frame = pandas.DataFrame(X_TEST, columns=NAMES)
    assert metrics["ndcg_10"] == pytest.approx(ranker.score(frame, Y_TEST, qid=QID_TEST))
    assert list(Ranker.load(tmp_path / "ranker").feature_names_in_) == NAMES


def test_clone_and_parameters():
    ranker = small(loss={"key": "list_mle", "temperature": 0.5}, early_stopping={"patience": 3})
    twin = clone(ranker)
    assert twin.get_params() == ranker.get_params()
    assert twin.set_params(loss="softmax_cross_entropy", epochs=7).loss == "softmax_cross_entropy"
    assert ranker.epochs == 2


def test_defaults_are_those_of_a_config():
    ranker = Ranker(random_state=1)
    rows = rows_of(ranker, X, y, qid=QID, fitting=True)
    config = load_config(config_of(ranker, rows), data=rows.columns)
    inputs = [{"name": "f*", "type": "numeric"}]
    minimal = {"features": {"query_id": "qid", "inputs": inputs}, "model": {"loss": "lambda_loss"}}
    expected = load_config(minimal, data=rows.columns)
    assert config.training == expected.training
    for name in ("batch_size", "max_list_size", "truncation"):
        assert getattr(config.data, name) == getattr(expected.data, name)
    for name in ("metrics", "optimizer", "lr_schedule"):
        assert getattr(config.model, name) == getattr(expected.model, name)


def test_random_state_none_draws_a_seed_from_numpy():
    scores = []
    for seed in (1, 1, 2):
        np.random.seed(seed)
        scores.append(small(random_state=None, epochs=1).fit(X, y, qid=QID).predict(X))
    np.testing.assert_array_equal(scores[0], scores[1])
    assert not np.allclose(scores[0], scores[2])


def test_parameters_may_be_numpy_values():
    values = {"epochs": np.int64(1), "dropout": np.float64(0.1), "hidden_units": np.array([4])}
    ranker = small(**values, loss=np.str_("list_mle"), random_state=np.int64(3), early_stopping=np.int64(1))
    config = ranker.fit(X, y, qid=QID, eval_set=(X, y), eval_qid=QID).config_
    assert config.model.architecture == {"key": "dnn", "hidden_units": [4], "dropout": 0.1}


BAD = [
    ({}, {}, "X: give qid, the query of each row, or group, the number of rows of each query."),
    ({}, {"qid": QID, "group": [6] * 12}, "X: give 'qid' or 'group', not both."),
    ({}, {"group": [6] * 11}, "must add up to 72. Received: they add up to 66."),
    ({}, {"qid": QID[:-1]}, "inconsistent numbers of samples: [72, 72, 71]"),
    ({}, {"qid": QID, "sample_weight": [1.0, 2.0]}, "a weight of each of the 72 rows, or of each of the 12 queries."),
    ({}, {"qid": QID, "eval_set": [(X, y)]}, "eval_set[0]: give qid, the query of each row"),
    ({}, {"qid": QID, "eval_set": [(X, y)], "eval_qid": [QID, QID]}, "eval_qid: give a list with an entry for each of"),
    ({"early_stopping": 5}, {"qid": QID}, "early_stopping: needs eval_set."),
    ({"loss": "lamda_loss"}, {"qid": QID}, "model.loss: Unknown loss 'lamda_loss'. Did you mean 'lambda_loss'?"),
    ({"epochs": 0}, {"qid": QID}, "training.epochs: input should be greater than or equal to 1. Received: 0."),
    ({"architecture": "linear"}, {"qid": QID}, "architecture 'linear' has no parameter 'hidden_units'"),
    ({"transforms": ["log"]}, {"qid": QID}, "features.inputs.0.transforms.0: Unknown transform 'log'."),
]


@pytest.mark.parametrize(("parameters", "given", "message"), BAD, ids=[message[:40] for *_, message in BAD])
def test_bad_input_gets_one_line(parameters, given, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        small(**parameters).fit(X, y, **given)
    assert "\n" not in str(caught.value)


def test_labels_are_checked(fitted):
    with pytest.warns(DataConversionWarning):
        small().fit(X, y[:, None], qid=QID)
    with pytest.raises(ValueError, match="Input y contains NaN"):
        small().fit(X, np.where(y > 1, np.nan, y), qid=QID)
    with pytest.raises(ValueError, match="data\\['train'\\]: every label of the training split is 1"):
        small().fit(X, np.ones(len(y)), qid=QID)
    with pytest.raises(NotFittedError):
        small().predict(X)


@pytest.mark.parametrize(
    "parameters", [{"query_rank": True}, {"architecture": "set_transformer", "hidden_units": None}], ids=str
)
def test_scores_that_depend_on_the_list_need_its_query(parameters):
    ranker = small(**parameters).fit(X, y, qid=QID)
    with pytest.raises(UserError, match="the score of a row depends on its query: give qid"):
        ranker.predict(X)
    np.testing.assert_allclose(ranker.predict(X[:6], group=[6]), ranker.predict(X, qid=QID)[:6], rtol=1e-5, atol=1e-6)


def test_load_refuses_another_folder(tmp_path):
    with pytest.raises(UserError, match="is not a folder that `save` of an estimator wrote"):
        Ranker.load(tmp_path)


def test_fit_prints_only_if_verbose(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(LOGGER, "propagate", False)  # to pytest's handlers
    small().fit(X, y, qid=QID)
    assert "epoch" not in capfd.readouterr().err
    small(verbose=1).fit(X, y, qid=QID)
    assert "epoch 2/2" in capfd.readouterr().err
    assert not list(tmp_path.iterdir())
