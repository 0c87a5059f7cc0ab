"""Cross-encoders on text columns: every kind of columns and labels trains, with the expected loss values."""

import csv

import keras
import numpy as np
import pytest

from ml4ir_losses.config.load import load_config
from ml4ir_losses.core.errors import ConfigError, DataError, UserError
from ml4ir_losses.core.registry import LOSSES
from ml4ir_losses.experiments.experiment import prepare
from selection import slow_except
from small_texts import BAG, PAIR, TRANSFORMER, TRIPLET, config, write_texts

TENSORFLOW = pytest.mark.backend("tensorflow")
pytestmark = pytest.mark.usefixtures("eager_steps")
KEY = "cross_encoder_multiple_negatives_ranking"
LISTS = {"anchor": "query", "document": "document", "label": "label"}
QUERIES = {"train": "lists.csv", "batch_size": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_texts(tmp_path_factory.mktemp("texts"))


def spec(folder, loss, columns=PAIR, encoder=BAG, **sections):
    architecture = {"hidden_units": [8], **sections.pop("architecture_", {})}
    return config(folder, loss, columns, encoder, "cross_encoder", architecture_=architecture, **sections)


def first_batch(folder, loss, columns=PAIR, **sections):
    """The model, its loss on the first batch, and that batch's logits, labels and mask."""
    experiment = prepare(load_config(spec(folder, loss, columns, **sections)))
    x, y, *weight = next(experiment.feeds["train"]["main"].batches())
    loss = float(experiment.model.test_on_batch(x, y, *weight, return_dict=True)["loss"])
    output = {name: np.asarray(keras.ops.convert_to_numpy(value)) for name, value in experiment.model(x).items()}
    return loss, {name: value.astype("float64") for name, value in output.items()}, y, x["mask"] > 0


@pytest.mark.parametrize(
    ("params", "columns", "documents"),
    [({}, PAIR, 5), ({"num_negatives": 2, "scale": 3.0}, TRIPLET, 4), ({"num_negatives": None}, PAIR, 12)],
    ids=["default", "hard_negatives", "all"],
)
def test_in_batch_loss_is_the_cross_entropy_of_the_positive(folder, params, columns, documents):
    loss, output, labels, mask = first_batch(folder, {"key": KEY, **params}, columns)
    assert labels.shape == (12, documents)
    scores = params.get("scale", 10.0) / (1.0 + np.exp(-output["logit"]))
    expected = [np.log(np.exp(s[m]).sum()) - s[0] for s, m in zip(scores, mask, strict=True)]
    assert loss == pytest.approx(np.mean(expected), rel=1e-5)


def test_binary_cross_entropy_of_pairs_matches_numpy(folder):
    loss, output, labels, _ = first_batch(folder, "binary_cross_entropy", PAIR | {"label": "same"})
    z, y = output["logit"][:, 0], labels[:, 0]
    assert y.max() == 1
    assert loss == pytest.approx(np.mean(np.log1p(np.exp(z)) - y * z), rel=1e-5)


def test_mean_squared_error_of_pairs_matches_numpy(folder):
    loss, output, labels, _ = first_batch(folder, "mean_squared_error", PAIR | {"label": "score"})
    assert loss == pytest.approx(np.mean(np.square(output["logit"] - labels)), rel=1e-5)


def test_categorical_cross_entropy_of_pairs_matches_numpy(folder):
    """Four classes given as words; the architecture gets four outputs."""
    loss, output, labels, _ = first_batch(folder, "categorical_cross_entropy", PAIR | {"label": "topic"})
    z = output["outputs"][:, 0]
    assert z.shape == (12, 4)
    expected = np.log(np.exp(z).sum(-1)) - z[np.arange(12), labels[:, 0].astype(int)]
    assert loss == pytest.approx(np.mean(expected), rel=1e-5)


@pytest.mark.parametrize("columns", [{"teacher": ["t1", "t2"]}, {"teacher": "t1"}, {"label": "t1"}])
def test_margin_mse_of_triplets_matches_numpy(folder, columns):
    """Columns hold a teacher's scores, or its margin."""
    loss, output, _, _ = first_batch(folder, "margin_mse", TRIPLET | columns, data={"shuffle": False})
    with (folder / "train.csv").open() as file:
        rows = list(csv.DictReader(file))[:12]
    scores = np.array([[float(row[name]) for name in ("t1", "t2")] for row in rows])
    margins = scores[:, 0] - (scores[:, 1] if columns.get("teacher") == ["t1", "t2"] else 0.0)
    z = output["logit"]
    assert loss == pytest.approx(np.mean(np.square(z[:, 0] - z[:, 1] - margins)), rel=1e-5)


def test_weights_of_rows_multiply_their_losses(folder):
    columns = PAIR | {"label": "score", "weight": "t1"}
    experiment = prepare(load_config(spec(folder, "mean_squared_error", columns, data={"shuffle": False})))
    x, y, weight = next(experiment.feeds["train"]["main"].batches())
    z = np.asarray(keras.ops.convert_to_numpy(experiment.model(x)["logit"]), "float64")
    loss = float(experiment.model.test_on_batch(x, y, weight, return_dict=True)["loss"])
    assert loss == pytest.approx(np.mean(weight * np.square(z - y)[:, 0]), rel=1e-5)


def test_cached_loss_takes_the_same_step_in_mini_batches(folder):
    """GradCache: the weights after a step do not depend on the mini-batches, dropout included."""
    steps = []
    for key, params in ((KEY, {}), (f"cached_{KEY}", {"mini_batch_size": 7})):
        given = spec(folder, {"key": key, **params}, encoder=TRANSFORMER, architecture_={"dropout": 0.0})
        given["model"]["optimizer"] = {"key": "sgd", "learning_rate": 0.1}
        given["model"]["architecture"]["encoder"] = TRANSFORMER | {"dropout": 0.0}
        experiment = prepare(load_config(given))
        batch = next(experiment.feeds["train"]["main"].batches())
        loss = experiment.model.train_on_batch(*batch, return_dict=True)["loss"]
        steps.append([loss, *experiment.model.get_weights()])
    for mine, theirs in zip(*steps, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-6)


RANKING = [e.key for e in LOSSES if e.loss_type in ("pointwise", "pairwise", "listwise")]


@pytest.mark.parametrize("key", slow_except(RANKING, "lambda_loss", "list_mle", KEY))
def test_lists_train_every_ranking_loss(folder, key):
    required = {"ordinal_size": 2} if LOSSES[key].required else {}
    experiment = prepare(load_config(spec(folder, {"key": key, **required}, LISTS, data=QUERIES)))
    before = [np.array(w) for w in experiment.model.get_weights()]
    batch = next(experiment.feeds["train"]["main"].batches())
    assert np.isfinite(experiment.model.train_on_batch(*batch, return_dict=True)["loss"])
    changed = any((a != b).any() for a, b in zip(before, experiment.model.get_weights(), strict=True))
    assert changed == (key != "cosine_prob_margin_ranking")  # its pairs saturate at scores near 0


@TENSORFLOW
@pytest.mark.graph
def test_run_trains_evaluates_and_predicts(folder, tmp_path):
    """The positive is ranked above the drawn negatives once the model knows which words go together."""
    from ml4ir_losses.experiments.evaluate import evaluate, predict
    from ml4ir_losses.experiments.open_run import open_run
    from ml4ir_losses.experiments.train import train

    data = {"validation": "validation.csv", "test": "test.csv", "reranking": {"files": "lists.csv"}, "batch_size": 16}
    given = spec(folder, {"key": f"cached_{KEY}", "mini_batch_size": 16}, data=data, training={"epochs": 3, "seed": 3})
    run = train(given, tmp_path / "run")
    assert set(run.metrics) == {"validation", "test", "reranking"}
    assert set(run.metrics["test"]) == {"ndcg_10", "mrr_10", "map"}
    history = list(csv.DictReader((run.path / "history.csv").open()))
    assert max(float(row["val_ndcg_10"]) for row in history) == pytest.approx(run.metrics["validation"]["ndcg_10"])
    assert evaluate(run.path, str(folder / "test.csv")).metrics == pytest.approx(run.metrics["test"])
    assert evaluate(run.path, "reranking").metrics == pytest.approx(run.metrics["reranking"])
    assert predict(run.path, str(folder / "test.csv"), tmp_path / "p.csv") == 16
    rows = list(csv.DictReader((tmp_path / "p.csv").open()))
    scores = open_run(run.path).model.score_pairs([r["anchor"] for r in rows], [r["positive"] for r in rows])
    np.testing.assert_allclose([float(r["logit"]) for r in rows], scores, rtol=1e-5)
    again = train(given | {"training": {"epochs": 1, "initial_model": str(run.path)}}, tmp_path / "again")
    assert again.model.tokenizer.get_config() == run.model.tokenizer.get_config()


@TENSORFLOW
def test_yaml_config_trains_from_the_command_line(folder, tmp_path, run):
    text = f"""
name: answers
data:
  directory: {folder}
  train: train.csv
  test: test.csv
  columns: {{anchor: a, positive: b, negative_1: c}}
  batch_size: 12
model:
  architecture: {{key: cross_encoder, encoder: {{key: bag_of_words, embedding_dim: 8}}}}
  tokenizer: {{max_length: 32, max_query_length: 8}}
  loss: {{key: cached_{KEY}, num_negatives: 3, mini_batch_size: 16}}
training: {{epochs: 1}}
"""
    (tmp_path / "c.yaml").write_text(text)
    code, out, _ = run("check", tmp_path / "c.yaml")
    assert code == 0
    assert f"answers: loss cached_{KEY}, " in out
    code, out, _ = run("train", tmp_path / "c.yaml", "--run-dir", tmp_path / "run")
    assert code == 0
    assert all(name in out for name in ("ndcg_10", "mrr_10", "untrained"))


@TENSORFLOW
@pytest.mark.slow
def test_training_with_in_batch_negatives_ranks_the_positive_first(tmp_path):
    """Questions and answers share a word: after training the answer is ranked above the others of its batch."""
    from ml4ir_losses.experiments.train import train

    words = [f"w{n}" for n in range(12)]
    for name, rows in (("train", 480), ("test", 60)):
        lines = [f"{words[r % 12]} question {r},{words[r % 12]} answer {r}" for r in range(rows)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["a,b", *lines]) + "\n")
    given = spec(tmp_path, KEY, encoder=TRANSFORMER | {"dropout": 0.0, "embedding_dim": 16, "hidden_dim": 32})
    given["data"] |= {"test": "test.csv", "batch_size": 12}
    given["model"]["optimizer"] = {"key": "adam", "learning_rate": 0.003}
    given["training"]["epochs"] = 25
    run = train(given, tmp_path / "run")
    assert run.metrics["test"]["mrr_10"] > run.baselines["untrained"]["mrr_10"] + 0.2


@TENSORFLOW
def test_class_probabilities_are_predicted(folder, tmp_path):
    from ml4ir_losses.experiments.evaluate import predict
    from ml4ir_losses.experiments.train import train

    run = train(spec(folder, "categorical_cross_entropy", PAIR | {"label": "topic"}), tmp_path / "run")
    assert predict(run.path, str(folder / "test.csv"), tmp_path / "p.csv") == 16
    rows = list(csv.DictReader((tmp_path / "p.csv").open()))
    names = ["class_flow", "class_heat", "class_shock", "class_wing"]
    assert list(rows[0]) == ["anchor", "positive", "logit", "rank", *names]
    shares = np.array([[float(row[name]) for name in names] for row in rows])
    np.testing.assert_allclose(shares.sum(1), 1.0, rtol=1e-5)
    table = {"a": [row["anchor"] for row in rows], "b": [row["positive"] for row in rows]}
    np.testing.assert_allclose(run.predict(table), shares, rtol=1e-4)


@TENSORFLOW
@pytest.mark.parametrize("nested", [False, True])
def test_data_in_memory_train_as_files_do(folder, tmp_path, nested):
    """Questions with answers, or with lists of labelled documents."""
    from ml4ir_losses import load_model
    from ml4ir_losses.experiments.train import train

    questions = [f"{word} {n}" for n, word in enumerate(["wing", "shock", "slab", "jet"] * 4)]
    answers = [f"a note on the {question}" for question in questions]
    if nested:
        pairs = [[answer, answers[n - 1]] for n, answer in enumerate(answers)]
        data = {"query": questions, "docs": pairs, "labels": [[2, 0]] * 16}
        loss, columns = "lambda_loss", {"anchor": "query", "document": "docs", "label": "labels"}
    else:
        data = {"query": questions, "answer": answers}
        loss, columns = KEY, {"anchor": "query", "positive": "answer"}
    given = spec(folder, loss, columns)
    del given["data"]["train"]
    run = train(given, tmp_path / "run", data={"train": data, "test": data})
    assert set(run.metrics["test"]) == {"ndcg_10", "mrr_10", "map"}
    scores = run.predict(data)
    assert scores.shape == (32 if nested else 16,)
    documents = [document for row in data["docs"] for document in row] if nested else answers
    queries = [question for question in questions for _ in range(2)] if nested else questions
    np.testing.assert_allclose(scores, load_model(run.path).score_pairs(queries, documents), rtol=1e-5)


@pytest.mark.parametrize(
    ("loss", "columns", "metrics"),
    [
        ("binary_cross_entropy", PAIR | {"label": "same"}, {"ap_score", "f1_score"}),
        ("mean_squared_error", PAIR | {"label": "score"}, {"spearman_score", "pearson_score"}),
        ("categorical_cross_entropy", PAIR | {"label": "topic"}, {"accuracy", "f1_macro"}),
    ],
)
def test_labelled_pairs_are_evaluated_by_their_scores(folder, loss, columns, metrics):
    experiment = prepare(load_config(spec(folder, loss, columns, data={"test": "test.csv"})))
    (evaluator,) = experiment.evaluators["test"].values()
    assert metrics <= set(evaluator.evaluate(experiment.model))


BAD = [
    ("margin_mse", PAIR, {}, ConfigError, r"data\.columns\.label: is missing; without negative_1, \.\.\. 'margin_mse'"),
    ("list_mle", PAIR | {"label": "score"}, {}, ConfigError, "'list_mle' compares the documents of a query. Name the"),
    ("list_mle", {"anchor": "a", "document": "b"}, {}, ConfigError, r"data\.columns\.label: is missing; 'list_mle'"),
    ("list_mle", {"text": "a", "label": "score"}, {}, ConfigError, "a cross-encoder reads pairs: give anchor and"),
    (KEY, PAIR | {"label": "score"}, {}, ConfigError, "draws its negatives from the other rows and reads no label"),
    (KEY, PAIR, {"batch_size": 1}, ConfigError, r"data\.batch_size: .* at least 2\. Received: 1"),
    (KEY, PAIR, {"batching": "contrastive_pairs"}, ConfigError, "'contrastive_pairs' is for embedding losses"),
    ("margin_mse", TRIPLET | {"teacher": ["t1", "t2", "score"]}, {}, ConfigError, "reads 2 or 1 columns of numbers"),
    ("list_mle", TRIPLET | {"label": "t1"}, {}, ConfigError, "reads 2 columns of numbers .* positive, negative"),
    ("margin_mse", TRIPLET | {"teacher": "t1", "label": "t1"}, {}, ConfigError, "give label or teacher, not both"),
    ("margin_mse", TRIPLET | {"label": ["t1", "t2"]}, {}, ConfigError, r"columns\.label: is one column; .* teacher"),
    ("list_mle", PAIR | {"document": "c"}, {}, ConfigError, "document stands beside anchor alone"),
    ("multiple_negatives_ranking", PAIR, {}, ConfigError, "is an embedding loss, .* model.architecture 'bi_enc"),
    (KEY, PAIR, {"teacher": "runs/x"}, ConfigError, r"data\.teacher: .* give data\.columns\.teacher"),
    ("binary_cross_entropy", PAIR | {"label": "topic"}, {}, DataError, "train.csv, line 2: the label must be a finite"),
    ("binary_cross_entropy", PAIR | {"label": "bb"}, {}, DataError, r"no column 'bb' \(data\.columns\.label\)"),
]


@pytest.mark.parametrize(("loss", "columns", "data", "error", "message"), BAD)
def test_columns_that_do_not_fit_raise_one_line(folder, loss, columns, data, error, message):
    with pytest.raises(error, match=message) as caught:
        prepare(load_config(spec(folder, loss, columns, data=data)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("rows", [(["q"], ["d"]), (["q", "q"], ["d", "d"])], ids=["one row", "equal rows"])
def test_rows_without_a_negative_raise_one_line(folder, rows):
    raw = spec(folder, KEY, {"anchor": "query", "positive": "answer"})
    data = dict(zip(("query", "answer"), rows, strict=True))
    with pytest.raises(DataError, match=r"^data: '.*' needs at least two rows without a common text\.$"):
        prepare(load_config(raw, data=data))


def test_settings_that_do_not_fit_raise_one_line(folder, tmp_path):
    for sections, message in (
        ({"architecture_": {"encoder": TRANSFORMER | {"max_length": 99}}}, "max_length must be at least 256"),
        ({"evaluators": ["triplet"]}, "evaluators: 'triplet' needs a model that embeds texts"),
        ({"training": {"initial_model": "nowhere"}}, "training.initial_model: nowhere: there is no such model"),
    ):
        with pytest.raises((ConfigError, UserError), match=message) as caught:
            prepare(load_config(spec(folder, KEY, data={"test": "test.csv"}, **sections)))
        assert "\n" not in str(caught.value)
    given = spec(folder, KEY)
    given["model"]["tokenizer"] = {"max_length": 8, "max_query_length": 7}
    with pytest.raises(ConfigError, match=r"model\.tokenizer: `max_query_length` must be at most 6"):
        prepare(load_config(given))
