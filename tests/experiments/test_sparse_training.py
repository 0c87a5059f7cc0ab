"""Sparse encoders from a config: they train, report their sparsity, are saved, encode and search."""

import csv
import json

import numpy as np
import pytest

from ml4ir_losses.core.errors import ConfigError
from selection import slow_except
from small_texts import BAG, TRANSFORMER, TRIPLET, config, write_texts

pytestmark = [pytest.mark.backend("tensorflow"), pytest.mark.usefixtures("eager_steps")]

RETRIEVAL = {"corpus": "docs.csv", "queries": "queries.csv", "qrels": "qrels.csv", "similarity": "dot"}
SPLADE = {"key": "splade", "encoder": {"key": "cnn", "embedding_dim": 8, "filters": [8]}}
CSR = {"key": "csr", "encoder": TRANSFORMER, "k": 3}
SPARSITY = {f"{side}_{name}" for side in ("query", "corpus") for name in ("active_dims", "sparsity_ratio")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_texts(tmp_path_factory.mktemp("texts"))


def trained(folder, loss, encoder, path, **sections):
    from ml4ir_losses.experiments.train import train

    data = {"validation": "validation.csv", "retrieval": RETRIEVAL} | sections.pop("data", {})
    return train(config(folder, loss, encoder=encoder, data=data, **sections), path / "run")


def splade(weight, **more):
    return {"key": "splade", "document_regularizer_weight": weight, "query_regularizer_weight": weight, **more}


WEIGHTS = {"flops": (0.0, 0.05, 0.3), "l1": (0.0, 0.05)}


@pytest.mark.parametrize("regularizer", slow_except(WEIGHTS, "flops"))
def test_share_of_zeros_grows_with_the_regularizer(regularizer, folder, tmp_path):
    shares = []
    for weight in WEIGHTS[regularizer]:
        loss = splade(weight, document_regularizer=regularizer, query_regularizer=regularizer)
        (tmp_path / str(weight)).mkdir()
        run = trained(folder, loss, SPLADE, tmp_path / str(weight), training={"epochs": 5})
        shares.append(json.loads((run.path / "metrics.json").read_text())["retrieval"]["corpus_sparsity_ratio"])
    assert (np.diff(shares) > 0.1).all()


CASES = {
    "splade": (splade(0.01), SPLADE, 18),
    "splade-transformer": (splade(0.01), {**SPLADE, "encoder": TRANSFORMER}, 18),
    "cached_splade": (
        {"key": "cached_splade", "document_regularizer_weight": 0.01, "mini_batch_size": 5},
        SPLADE,
        18,
    ),
    "csr": ("csr", CSR, 32),
    "csr_reconstruction": ("csr_reconstruction", {**CSR, "encoder": BAG, "hidden_dim": 16, "normalize": True}, 16),
    "csr-triplet": ({"key": "csr", "loss": {"key": "triplet"}}, CSR, 32),
    "multiple_negatives_ranking": ("multiple_negatives_ranking", CSR, 32),
}


@pytest.mark.parametrize("name", slow_except(CASES, "cached_splade", "csr"))
def test_trains_saves_encodes_and_searches(name, folder, tmp_path):
    from ml4ir_losses.experiments.evaluate import evaluate
    from ml4ir_losses.experiments.open_run import open_run
    from ml4ir_losses.experiments.text_commands import encode, search

    loss, encoder, width = CASES[name]
    columns = TRIPLET if "triplet" in name else None
    run = trained(folder, loss, encoder, tmp_path, columns=columns)
    history = list(csv.DictReader((run.path / "history.csv").open()))
    assert all(np.isfinite(float(row["loss"])) and np.isfinite(float(row["val_loss"])) for row in history)
    loaded = open_run(run.path).model
    texts = ["wing flow", "", "heat"]
    found = loaded.encode(texts)
    np.testing.assert_array_equal(found, run.model.encode(texts))
    assert found.shape == (3, width)
    assert (found >= 0).all()
    assert (found[1] == 0).all()
    if encoder["key"] == "csr":
        np.testing.assert_array_equal((found != 0).sum(axis=1), [3, 0, 3])
    assert encode(run.path, str(folder / "docs.csv"), tmp_path / "docs.npy", ["text"]) == (40, width)
    documents = np.load(tmp_path / "docs.npy")
    hits = search(run.path, str(folder / "docs.csv"), {"q": "wing"}, 3, ["text"], similarity="dot")
    np.testing.assert_allclose(
        [score for *_, score, _ in hits], np.sort(documents @ loaded.encode(["wing"])[0])[::-1][:3], rtol=1e-5
    )
    metrics = json.loads((run.path / "metrics.json").read_text())["retrieval"]
    assert set(metrics) >= SPARSITY
    active = np.count_nonzero(documents, axis=1).mean()
    np.testing.assert_allclose(metrics["corpus_active_dims"], active)
    np.testing.assert_allclose(metrics["corpus_sparsity_ratio"], 1 - active / width)
    assert evaluate(run.path, "retrieval").metrics == pytest.approx(metrics)


def test_dense_models_report_no_sparsity(folder, tmp_path):
    run = trained(folder, "multiple_negatives_ranking", BAG, tmp_path)
    assert not set(json.loads((run.path / "metrics.json").read_text())["retrieval"]) & SPARSITY


def test_sparsity_of_pairs_is_monitored(folder, tmp_path):
    data = {"columns": TRIPLET, "retrieval": None}
    run = trained(folder, splade(0.01), SPLADE, tmp_path, data=data)
    history = list(csv.DictReader((run.path / "history.csv").open()))
    ratios = [float(row["val_triplet_sparsity_ratio"]) for row in history]
    assert all(0 <= ratio <= 1 for ratio in ratios)
    np.testing.assert_allclose(
        [float(row["val_triplet_active_dims"]) for row in history], 18 * (1 - np.array(ratios)), rtol=1e-5
    )


def test_auto_encoder_starts_from_a_dense_run(folder, tmp_path):
    (tmp_path / "dense").mkdir()
    dense = trained(folder, "multiple_negatives_ranking", TRANSFORMER, tmp_path / "dense")
    encoder = {**CSR, "train_encoder": False}
    run = trained(folder, "csr", encoder, tmp_path, training={"initial_model": str(dense.path), "epochs": 3})
    inner = run.model.encoders[0].encoder
    for mine, source in zip(inner.get_weights(), dense.model.encoders[0].get_weights(), strict=True):
        np.testing.assert_array_equal(mine, source)


def test_data_sets_with_and_without_reconstruction_share_an_encoder(folder, tmp_path):
    from ml4ir_losses.experiments.train import train

    spec = config(folder, None, encoder=CSR)
    del spec["model"]["loss"], spec["data"]["train"], spec["data"]["columns"]
    spec["data"]["datasets"] = {
        "pairs": {"train": "train.csv", "columns": {"anchor": "a", "positive": "b"}, "loss": "csr"},
        "triplets": {"train": "train.csv", "columns": TRIPLET, "loss": "multiple_negatives_ranking"},
    }
    run = train(spec, tmp_path / "run")
    assert run.model.encode(["wing"]).shape == (1, 32)


@pytest.mark.parametrize(
    ("loss", "encoder", "message"),
    [
        ("csr", TRANSFORMER, "model.loss: 'csr' reads reconstructed embeddings: it needs model.architecture.encoder"),
        ("flops", {"key": "splade", "encoder": {"key": "cnn", "fliters": [3]}}, "has no parameter 'fliters'"),
        ("flops", {"key": "splade", "encoder": BAG}, "must read words in context"),
        ("csr", {**CSR, "hidden_dim": 12}, "`hidden_dim` must be a multiple of 8"),
    ],
)
def test_configs_that_do_not_fit_are_refused(loss, encoder, message, folder, tmp_path):
    with pytest.raises(ConfigError) as caught:
        trained(folder, loss, encoder, tmp_path)
    assert message in str(caught.value)
