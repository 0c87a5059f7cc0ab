"""Every loss of embeddings trains from a config, is saved, and comes back."""

import csv
import json

import numpy as np
import pytest

from ml4ir_losses.config.load import load_config
from ml4ir_losses.core.errors import ConfigError, DataError, UserError
from ml4ir_losses.core.registry import LOSSES
from selection import slow_except
from small_texts import BAG, CLASS, PAIR, TRANSFORMER, TRIPLET, config, write, write_texts

pytestmark = [pytest.mark.backend("tensorflow"), pytest.mark.usefixtures("eager_steps")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_texts(tmp_path_factory.mktemp("texts"))


INNER = {"loss": "multiple_negatives_ranking"}
CASES = {
    "batch_all_triplet": {"columns": CLASS},
    "batch_hard_triplet": {"columns": CLASS},
    "batch_hard_soft_margin_triplet": {"columns": CLASS},
    "batch_semi_hard_triplet": {"columns": CLASS},
    "nt_xent": {"columns": CLASS},
    "sup_con": {"columns": CLASS},
    "multi_similarity": {"columns": CLASS},
    "proxy_anchor": {"columns": CLASS},
    "proxy_nca": {"columns": CLASS},
    "arc_face": {"columns": CLASS},
    "cos_face": {"columns": CLASS},
    "contrastive": {"columns": PAIR | {"label": "same"}},
    "online_contrastive": {"columns": PAIR | {"label": "same"}},
    "contrastive_tension": {"columns": {"text": "a"}, "architecture_": {"shared": False}},
    "contrastive_tension_in_batch": {"columns": {"anchor": "a", "positive": "a"}, "architecture_": {"shared": False}},
    "cosine_similarity": {"columns": PAIR | {"label": "score"}},
    "cosent": {"columns": PAIR | {"label": "score"}},
    "angle": {"columns": PAIR | {"label": "score"}},
    "embedding_margin_mse": {"columns": TRIPLET | {"teacher": ["t1"]}},
    "distill_kl_div": {"columns": TRIPLET | {"teacher": ["t1", "t2"]}},
    "triplet": {"columns": TRIPLET},
    "multiple_negatives_ranking": {"columns": TRIPLET},
    "multiple_negatives_symmetric_ranking": {},
    "cached_multiple_negatives_ranking": {"params": {"mini_batch_size": 5}, "encoder": TRANSFORMER},
    "cached_multiple_negatives_symmetric_ranking": {"params": {"mini_batch_size": 5, "show_progress_bar": True}},
    "mega_batch_margin": {},
    "pair_softmax": {
        "columns": PAIR | {"label": "same"},
        "params": {"num_labels": 2},
        "architecture": "pair_classifier",
    },
    "flops": {},
    "global_orthogonal_regularization": {},
    "splade": {"params": {"document_regularizer_weight": 0.01}},
    "cached_splade": {"params": {"document_regularizer_weight": 0.01, "mini_batch_size": 5}},
    "matryoshka": {"params": {"dims": [8, 4], **INNER}},
    "adaptive_layer": {"params": INNER, "encoder": TRANSFORMER},
    "matryoshka_2d": {"params": {"dims": [8, 4], **INNER}, "encoder": TRANSFORMER},
    "cross_batch_memory": {"params": {"memory_size": 16, **INNER}},
    "denoising_auto_encoder": {
        "columns": {"text": "a"},
        "encoder": TRANSFORMER,
        "architecture": "denoising_auto_encoder",
        "architecture_": {"num_heads": 2},
    },
    # those that train an auto-encoder: test_sparse_training.py
    "csr": None,
    "csr_reconstruction": None,
    # those that learn from a teacher's embeddings: below
    "embed_distill": None,
    "embedding_mse": None,
    "gist_embed": None,
    "cached_gist_embed": None,
}


def test_every_embedding_loss_has_a_case():
    assert set(CASES) == {entry.key for entry in LOSSES if entry.loss_type == "embedding"}


# One of each kind of columns, targets, heads and memories; the others repeat them, or take half a minute.
QUICK = {"batch_hard_triplet", "contrastive_tension", "distill_kl_div", "pair_softmax", "cross_batch_memory"}


@pytest.mark.parametrize("key", slow_except([key for key, case in CASES.items() if case is not None], *QUICK))
def test_loss_trains_and_saved_model_keeps_embeddings(key, folder, tmp_path):
    from ml4ir_losses.experiments.open_run import open_run
    from ml4ir_losses.experiments.train import train

    case = dict(CASES[key])
    loss = {"key": key, **case.pop("params", {})}
    run = train(config(folder, loss, **case, data={"validation": "validation.csv"}), tmp_path / "run")
    history = list(csv.DictReader((run.path / "history.csv").open()))
    assert len(history) == 2
    assert all(np.isfinite(float(row["loss"])) and np.isfinite(float(row["val_loss"])) for row in history)
    loaded = open_run(run.path).model
    texts = ["wing flow", "", "a word never seen", "heat"]
    found = loaded.encode(texts)
    assert found.shape == (4, 8)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found, run.model.encode(texts))
    for mine, theirs in zip(run.model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.fixture(scope="module")
def teacher(folder, tmp_path_factory):
    from ml4ir_losses.experiments.train import train

    return train(config(folder, "multiple_negatives_ranking"), tmp_path_factory.mktemp("runs") / "teacher").path


@pytest.mark.parametrize("key", slow_except(["embedding_mse", "gist_embed", "cached_gist_embed"], "gist_embed"))
def test_learns_from_the_encoder_of_another_run(key, folder, teacher, tmp_path):
    from ml4ir_losses.experiments.train import train

    run = train(config(folder, key, data={"teacher": str(teacher)}, training={"epochs": 3}), tmp_path / "run")
    losses = [float(row["loss"]) for row in csv.DictReader((run.path / "history.csv").open())]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("size", [(5,), (2, 5)], ids=["of_rows", "of_texts"])
def test_learns_from_teacher_embeddings_in_files(size, folder, tmp_path):
    """Embeddings of another size than the student's, which a saved projection maps to it."""
    from ml4ir_losses.experiments.open_run import open_run
    from ml4ir_losses.experiments.train import train

    rng, files = np.random.default_rng(0), {}
    for split, rows in (("train", 48), ("validation", 16)):
        files[split] = str(tmp_path / f"{split}.npy")
        np.save(files[split], rng.normal(size=(rows, *size)))
    loss = {"key": "embed_distill", "distance": "mse", "projection_dim": 5}
    data = {"teacher": files, "validation": "validation.csv"}
    run = train(config(folder, loss, data=data, training={"epochs": 3}), tmp_path / "run")
    losses = [float(row["loss"]) for row in csv.DictReader((run.path / "history.csv").open())]
    assert losses[-1] < losses[0]
    (head,) = open_run(run.path).model.heads.values()
    assert head.kernel.shape == (8, 5)
    np.testing.assert_array_equal(head.kernel, run.model.heads["main"].kernel)


def test_learns_from_a_column_of_teacher_embeddings(folder, tmp_path):
    from ml4ir_losses.experiments.train import train

    rows = list(csv.DictReader((folder / "train.csv").open()))
    teacher = np.random.default_rng(0).normal(size=(len(rows), 8))
    columns = {"a": [row["a"] for row in rows], "b": [row["b"] for row in rows], "teacher": list(teacher)}
    raw = config(folder, "embedding_mse", columns=PAIR | {"teacher": "teacher"}, training={"epochs": 3})
    del raw["data"]["train"]
    run = train(raw, tmp_path / "run", data={"train": columns}, progress=False)
    losses = [float(row["loss"]) for row in csv.DictReader((run.path / "history.csv").open())]
    assert losses[-1] < losses[0]


def test_angle_trains_on_unlabelled_triplets(folder, tmp_path):
    from ml4ir_losses.experiments.train import train

    run = train(config(folder, "angle", columns=TRIPLET, training={"epochs": 3}), tmp_path / "run")
    losses = [float(row["loss"]) for row in csv.DictReader((run.path / "history.csv").open())]
    assert losses[-1] < losses[0]


def test_retrieval_is_compared_with_the_untrained_encoder(folder, tmp_path):
    from ml4ir_losses.experiments.evaluate import evaluate
    from ml4ir_losses.experiments.train import train

    retrieval = {"corpus": "docs.csv", "queries": "queries.csv", "qrels": "qrels.csv", "during_training": True}
    spec = config(folder, "multiple_negatives_ranking", data={"retrieval": retrieval}, training={"epochs": 6})
    run = train(spec | {"expected_metrics": {"retrieval": {"ndcg_10": 2.0}}}, tmp_path / "run")
    assert run.missed
    assert run.missed[0].startswith("retrieval: ndcg_10 is ")
    metrics = json.loads((run.path / "metrics.json").read_text())["retrieval"]
    assert set(metrics) == {"ndcg_10", "mrr_10", "map_100", "recall_100"}
    baselines = json.loads((run.path / "baselines.json").read_text())
    assert metrics["ndcg_10"] > baselines["untrained"]["ndcg_10"]
    rows = list(csv.DictReader((run.path / "per_query.csv").open()))
    assert len(rows) == 6
    np.testing.assert_allclose(np.mean([float(row["ndcg_10"]) for row in rows]), metrics["ndcg_10"])
    history = list(csv.DictReader((run.path / "history.csv").open()))
    best = max(float(row["val_retrieval_ndcg_10"]) for row in history)
    np.testing.assert_allclose(best, metrics["ndcg_10"], rtol=1e-5)
    assert evaluate(run.path, "retrieval").metrics == pytest.approx(metrics)


def test_pow2_minus_1_gain_of_grades_matches_formula(folder):
    from ml4ir_losses.data.texts.collection import read_collection

    retrieval = {"corpus": "docs.csv", "queries": "queries.csv", "qrels": "qrels.csv"}
    spec = config(folder, "multiple_negatives_ranking", data={"retrieval": retrieval})
    plain = read_collection(load_config(spec).data).judgments
    retrieval["gain"] = "pow2_minus_1"
    steep = read_collection(load_config(spec).data).judgments
    assert {(plain[q][d], steep[q][d]) for q in plain for d in plain[q]} == {(1.0, 1.0), (2.0, 3.0), (3.0, 7.0)}


@pytest.mark.parametrize(
    ("columns", "loss", "metric"),
    [
        (TRIPLET, "triplet", "triplet_accuracy_cosine"),
        pytest.param(PAIR | {"label": "same"}, "contrastive", "binary_ap_cosine", marks=pytest.mark.slow),
        (PAIR | {"label": "score"}, "cosent", "similarity_spearman_cosine"),
    ],
)
def test_evaluators_follow_from_the_columns(columns, loss, metric, folder, tmp_path):
    from ml4ir_losses.experiments.evaluate import evaluate
    from ml4ir_losses.experiments.train import train

    files = {"validation": "validation.csv", "test": "test.csv", "reranking": {"files": "lists.csv"}}
    stop = {"early_stopping": {"monitor": f"val_{metric}", "patience": 5}}
    run = train(config(folder, loss, columns, data=files, training=stop), tmp_path / "run")
    assert 0.0 <= abs(run.metrics["validation"][metric]) <= 1.0
    assert set(run.metrics) == {"validation", "test", "reranking"}
    assert evaluate(run.path, str(folder / "test.csv")).metrics == pytest.approx(run.metrics["test"])


@pytest.mark.parametrize("sampling", slow_except(["round_robin", "proportional"], "round_robin"))
@pytest.mark.graph
def test_several_data_sets_train_with_their_own_losses(sampling, folder, tmp_path):
    from ml4ir_losses.experiments.train import train
    from ml4ir_losses.model.loading import load_model

    data = {
        "directory": str(folder),
        "batch_size": 8,
        "sampling": sampling,
        "datasets": {
            "pairs": {"train": "train.csv", "columns": TRIPLET, "loss": "multiple_negatives_ranking"},
            "topics": {"train": "train.csv", "columns": CLASS, "loss": "arc_face", "batch_size": 6},
            "scores": {
                "train": "train.csv",
                "validation": "validation.csv",
                "columns": PAIR | {"label": "score", "weight": "t1"},
                "loss": "cosent",
            },
        },
    }
    spec = config(folder, None)
    run = train(spec | {"data": data}, tmp_path / "run")
    assert "scores_similarity_pearson_cosine" in run.metrics["validation"]
    loaded = load_model(run.path)
    assert set(loaded.heads) == {"topics"}
    assert len(loaded.tasks["topics"].classes) == 4
    np.testing.assert_array_equal(loaded.encode(["wing"]), run.model.encode(["wing"]))


def test_each_data_set_is_trained_by_its_own_loss(folder):
    """The gradient of a mixed batch is that of the data set's own model."""
    from ml4ir_losses.experiments.experiment import prepare

    sets = {
        "pairs": {"train": "train.csv", "columns": TRIPLET, "loss": "multiple_negatives_ranking"},
        "scores": {"train": "train.csv", "columns": PAIR | {"label": "score"}, "loss": "cosent"},
    }
    spec = config(folder, None)
    spec["data"] = {"directory": str(folder), "batch_size": 8, "datasets": sets, "sampling": "round_robin"}
    experiment = prepare(load_config(spec))
    for batch, name in zip(experiment.dataset("train").take(4), ["pairs", "scores"] * 2, strict=True):
        x, y, *_ = batch
        columns = 3 if name == "pairs" else 2
        output = experiment.model(x)["embedding"]
        assert output.shape[1] == 3
        loss = experiment.model.relevance_losses[name].get_loss_fn()
        np.testing.assert_allclose(
            experiment.model.compute_loss(x, y, {"embedding": output}, None),
            loss(y[name], output[:, :columns]),
            rtol=1e-6,
        )


def test_starts_from_the_encoder_of_another_run(folder, tmp_path):
    from ml4ir_losses.experiments.experiment import prepare
    from ml4ir_losses.experiments.train import train

    first = train(config(folder, "multiple_negatives_ranking"), tmp_path / "first")
    spec = config(folder, "cosent", PAIR | {"label": "score"}, training={"initial_model": str(first.path)})
    second = prepare(load_config(spec)).model
    np.testing.assert_array_equal(second.encode(["wing heat"]), first.model.encode(["wing heat"]))
    spec["model"]["architecture"]["encoder"] = BAG | {"embedding_dim": 6}
    with pytest.raises(ConfigError, match=r"initial_model: .* has another encoder"):
        prepare(load_config(spec))


def test_loss_of_a_run_is_weighted_by_rows(folder, tmp_path):
    from ml4ir_losses.experiments.experiment import prepare

    with (folder / "train.csv").open() as file:
        table = list(csv.DictReader(file))
    for row in table:
        row["w"] = int(row["same"])
    write(tmp_path / "train.csv", list(table[0]), [list(row.values()) for row in table])
    spec = config(tmp_path, "cosine_similarity", PAIR | {"label": "score", "weight": "w"}, data={"shuffle": False})
    experiment = prepare(load_config(spec))
    x, y, weight = next(iter(experiment.dataset("train")))
    output = experiment.model(x)
    value = float(experiment.model.compute_loss(x, y, output, weight))
    rows = np.asarray(weight) > 0
    kept = experiment.model.relevance_losses["main"].get_loss_fn()(y[rows], output["embedding"][rows])
    np.testing.assert_allclose(value, float(kept) * rows.sum() / len(rows), rtol=1e-5)


BAD = [
    ("cosent", {}, ConfigError, r"data\.columns\.label: is missing; 'cosent' reads a label of each row"),
    (
        "multiple_negatives_ranking",
        {"data": {"batch_size": 1}},
        ConfigError,
        r"data\.batch_size: .* at least 2\. Received: 1",
    ),
    ("triplet", {}, ConfigError, r"data\.columns: 'triplet' takes 3 columns of texts\. Received: anchor, positive"),
    ("list_mle", {}, ConfigError, r"model\.loss: 'list_mle' is a ranking loss"),
    ("multiple_negatves_ranking", {}, ConfigError, "Did you mean 'multiple_negatives_ranking'"),
    (
        {"key": "pair_softmax", "num_labels": 2},
        {"columns": PAIR | {"label": "same"}},
        ConfigError,
        "needs model.architecture 'pair_classifier'",
    ),
    (
        {"key": "pair_softmax", "num_labels": 2},
        {"columns": PAIR | {"label": "topic"}, "architecture": "pair_classifier"},
        DataError,
        "4 classes .* and num_labels is 2",
    ),
    ("angle", {"columns": PAIR | {"label": "score"}, "encoder": BAG | {"embedding_dim": 7}}, ConfigError, "even"),
    ({"key": "matryoshka", "dims": [16], **INNER}, {}, ConfigError, r"`dims` of 'matryoshka' must be at most D = 8"),
    ("adaptive_layer", {}, ConfigError, "needs the parameter 'loss'"),
    ({"key": "adaptive_layer", **INNER}, {}, ConfigError, "needs the encoder 'transformer'"),
    (
        "multiple_negatives_ranking",
        {"columns": {"anchor": "a", "positive": "bb"}},
        DataError,
        r"no column 'bb' \(data\.columns\.positive\)\. Did you mean 'b'",
    ),
    (
        "multiple_negatives_ranking",
        {"columns": {"anchor": "a", "postive": "b"}},
        ConfigError,
        "unknown role 'postive'. Did you mean 'positive'",
    ),
    (
        "multiple_negatives_ranking",
        {"columns": {"anchor": "a"}},
        ConfigError,
        "anchor alone: give anchor and positive, or text",
    ),
    (
        "distill_kl_div",
        {"columns": TRIPLET | {"teacher": ["t1"]}},
        ConfigError,
        r"columns\.teacher: 'distill_kl_div' takes y_true",
    ),
    ("distill_kl_div", {"columns": TRIPLET}, ConfigError, r"data\.columns\.teacher: is missing"),
    ("gist_embed", {}, ConfigError, r"data\.teacher: is missing; 'gist_embed' learns from the embeddings"),
    ("gist_embed", {"data": {"teacher": "nowhere"}}, ConfigError, r"data\.teacher: .*there is no such model"),
    ("embedding_mse", {"data": {"teacher": {"train": "t.npy"}}}, DataError, r"t\.npy: there is no such file"),
    (
        "embedding_mse",
        {"data": {"teacher": {"train": "t.npy"}, "validation": "validation.csv"}},
        ConfigError,
        r"data\.teacher: has no file for validation\. Received: train",
    ),
    (
        "embedding_mse",
        {"columns": PAIR | {"teacher": "t1"}, "data": {"teacher": {"train": "t.npy"}}},
        ConfigError,
        r"data\.columns\.teacher gives the teacher's values too",
    ),
    ("angle", {"columns": PAIR}, ConfigError, r"data\.columns\.label: is missing; 'angle' reads a label"),
    (
        "contrastive",
        {"columns": PAIR | {"label": "topic"}},
        DataError,
        r"train\.csv, line 2: the label must be a finite number\. Received: 'wing'",
    ),
    ("online_contrastive", {"columns": PAIR | {"label": "score"}}, DataError, "takes labels 0 and 1"),
    ("batch_hard_triplet", {"columns": {"text": "a", "label": "a"}}, DataError, "need two classes of at least 2 rows"),
    (
        "batch_hard_triplet",
        {"columns": CLASS, "data": {"batch_size": 3}},
        ConfigError,
        "group_by_label needs two classes in a batch: at least 4",
    ),
    ("cosent", {"columns": CLASS}, ConfigError, "'cosent' takes 2 columns"),
    ("multiple_negatives_ranking", {"data": {"batching": "no_duplicate"}}, ConfigError, "Did you mean 'no_duplicates'"),
    ("multiple_negatives_ranking", {"encoder": {"key": "transfomer"}}, ConfigError, "Did you mean 'transformer'"),
    (
        "multiple_negatives_ranking",
        {"encoder": {"key": "keras_hub", "preset": "/nowhere/at/all"}},
        ConfigError,
        "/nowhere/at/all",
    ),
    (
        "multiple_negatives_ranking",
        {"data": {"retrieval": {"corpus": "docs.csv", "queries": "none.csv", "qrels": "qrels.csv"}}},
        DataError,
        "none.csv",
    ),
    (
        "multiple_negatives_ranking",
        {
            "data": {
                "retrieval": {"corpus": "docs.csv", "document": "body", "queries": "queries.csv", "qrels": "qrels.csv"}
            }
        },
        DataError,
        r"no column 'body' \(data\.retrieval\.document\)",
    ),
    (
        "multiple_negatives_ranking",
        {"training": {"early_stopping": {"patience": 2}}},
        ConfigError,
        "early_stopping: needs data.validation",
    ),
    (
        "multiple_negatives_ranking",
        {"expected_metrics": {"retrieval": {"ndcg_10": 0.1}}},
        ConfigError,
        "data.retrieval is not given",
    ),
]


@pytest.mark.parametrize(("loss", "changes", "error", "message"), BAD, ids=[str(n) for n in range(len(BAD))])
def test_invalid_config_or_data_raises_one_line_and_leaves_no_folder(loss, changes, error, message, folder, tmp_path):
    from ml4ir_losses.experiments.train import train

    with pytest.raises(error, match=message) as caught:
        train(config(folder, loss, **json.loads(json.dumps(changes))), tmp_path / "run")
    assert isinstance(caught.value, UserError)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_unknown_monitor_is_reported_after_the_first_epoch(folder, tmp_path):
    from ml4ir_losses.experiments.train import train

    stop = {"early_stopping": {"monitor": "val_similarity_spearmen_cosine"}}
    files = {"validation": "validation.csv"}
    spec = config(folder, "cosent", PAIR | {"label": "score"}, data=files, training=stop)
    with pytest.raises(ConfigError, match=r"monitor: unknown .* Did you mean 'val_similarity_spearman_cosine'"):
        train(spec, tmp_path / "run")


def test_rows_with_an_empty_text_are_left_out_and_counted(folder, tmp_path, caplog):
    from ml4ir_losses.experiments.experiment import prepare

    write(tmp_path / "train.csv", ["a", "b"], [["x y", "y"], ["x", " "], ["z", "w"], ["", "q"], ["u", "v"]])
    experiment = prepare(load_config(config(tmp_path, "multiple_negatives_ranking")))
    assert len(experiment.sets["main"].rows["train"]) == 3
    assert "train.csv, line 3: the text is empty; rows left out like this one: 2" in caplog.text
    write(tmp_path / "train.csv", ["a", "b"], [["x", " "], ["", "q"]])
    with pytest.raises(DataError, match=r"every row has an empty text \(a, b\)"):
        prepare(load_config(config(tmp_path, "multiple_negatives_ranking")))
