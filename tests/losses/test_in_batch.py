"""In-batch losses: candidates of other replicas, a trained scale, negatives that a guide finds too similar."""

import warnings

import numpy as np
import pytest
from keras import ops

from compat.golden import load
from losses.cases import get_loss, make_batch
from losses.families.in_batch import gist_embed, multiple_negatives_ranking
from losses.numeric import DOUBLE, gradient, values
from ml4ir_losses import functional
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.losses.embedding.in_batch import AllRows, in_batch_cross_entropy

GOLDEN = {case["id"]: case for case in load("st_embedding_losses.json")}
EXACT = 1e-10 if DOUBLE else 1e-4


def columns(case, of="inputs", prefix="embeddings"):
    names = sorted(name for name in case[of] if name.startswith(f"{prefix}_"))
    return np.stack([np.array(case[of][name]) for name in names], axis=1)


@pytest.mark.parametrize("symmetric", [False, True])
def test_two_ranks_match_sentence_transformers(symmetric):
    """Each rank has the loss of sentence-transformers on that rank; the gradients of both add up to its gradient."""
    case = GOLDEN[f"st.MultipleNegatives{'Symmetric' * symmetric}RankingLoss/gather_2_ranks"]
    x, half = columns(case), len(columns(case)) // 2

    def rank(all_rows, number):
        all_rows = ops.convert_to_tensor(all_rows)
        own = all_rows[number * half :][:half]
        rows = AllRows(all_rows, ops.ones(len(x), dtype="bool"), number * half)
        directions = ("query_to_doc", "doc_to_query") if symmetric else ("query_to_doc",)
        return in_batch_cross_entropy(own, rows, 20.0, "cosine", directions, "per_direction")

    for number in (0, 1):
        found = values(rank(x, number)).mean()
        assert found == pytest.approx(case["expected_loss"][number], rel=1e-5)
    slopes = sum(gradient(lambda all_rows, r=r: rank(all_rows, r) / half, x) for r in (0, 1))
    np.testing.assert_allclose(slopes, columns(case, "expected_grad"), atol=EXACT)


def test_gradient_by_the_scale_matches_the_golden_value():
    case = GOLDEN["st.ContrastiveTensionLossInBatchNegatives/default"]
    x = columns(case)
    if not DOUBLE:
        x = x.astype("float32")
    slope = gradient(
        lambda t: ops.mean(functional.contrastive_tension_in_batch(None, x, scale=ops.exp(t))), np.log(x.dtype.type(20))
    )
    assert slope == pytest.approx(case["expected_grad"]["logit_scale"], rel=1e-5)


@pytest.mark.parametrize(
    "name",
    [
        "GISTEmbedLoss/pairs/rel_margin",
        "GISTEmbedLoss/triplets/rel_margin",
        "CachedGISTEmbedLoss/triplets/rel_margin_mb3",
    ],
)
def test_relative_margin_differs_from_the_peer_only_for_negative_guide_scores(name):
    case = GOLDEN[f"st.{name}"]
    x, guide = columns(case), columns(case, prefix="guide_embeddings")
    params = {"temperature": 0.2, "margin": 0.3, "margin_strategy": "relative"}
    shipped = gist_embed(guide, x, np.ones(len(x)), None, **params, as_shipped=True)
    assert np.mean(shipped) == pytest.approx(case["expected_loss"], rel=1e-9)
    ours = values(functional.gist_embed(guide, x, **params))
    guide_score = np.sum(guide[:, 0] * guide[:, 1], axis=-1)
    assert (guide_score < 0).any()
    np.testing.assert_allclose(ours[guide_score > 0], np.array(shipped)[guide_score > 0], rtol=1e-5)
    assert (np.abs(ours - shipped) > 1e-3).any()


def test_row_is_never_its_own_negative():
    """The guide's anchors equal its positives: the diagonals among anchors and among positives are excluded."""
    guide = np.random.default_rng(1).normal(size=(6, 1, 5)).repeat(2, axis=1).astype("float32")
    x = np.random.default_rng(2).normal(size=(6, 2, 3)).astype("float32")
    expected = gist_embed(guide, x, np.ones(6), None, temperature=0.1, margin=-1e-9)
    np.testing.assert_allclose(values(functional.gist_embed(guide, x, temperature=0.1)), expected, rtol=1e-4)


def test_equal_positives_count_as_negatives():
    """Regardless of rounding: the guide scores the copy exactly as high as the row's own positive."""
    rng = np.random.default_rng(3)
    guide, x = rng.normal(size=(2, 40, 2, 7)).astype("float32")
    guide[20:, 1], x[20:, 1] = guide[:20, 1], x[:20, 1]
    kept = values(functional.gist_embed(guide, x, temperature=1.0, contrast_anchors=False, contrast_positives=False))
    assert (kept > np.log(2) - 1e-6).all()  # the copy contributes as much as the positive


def test_small_loss_keeps_its_precision():
    a = np.eye(3, 4, dtype="float32")
    x = np.stack([a, a], axis=1)
    expected = np.log1p(2 * np.exp(-40.0))
    np.testing.assert_allclose(values(functional.multiple_negatives_ranking(None, x, scale=40.0)), expected, rtol=1e-5)


def test_mega_batch_margin_of_a_single_row():
    x = np.array([[[1.0, 0.0], [1.0, 0.5]], [[0.0, 1.0], [1.0, 1.0]]], dtype="float32")
    alone = values(functional.mega_batch_margin(None, x[:1], positive_margin=1.0, negative_margin=-3.0))
    np.testing.assert_allclose(alone, 1 - 1 / np.sqrt(1.25), rtol=1e-5)
    masked = values(
        functional.mega_batch_margin(None, x, np.array([True, False]), positive_margin=1.0, negative_margin=-3.0)
    )
    np.testing.assert_allclose(masked, [2 * alone[0], 0.0], rtol=1e-5)


@pytest.mark.parametrize("key", ["cached_multiple_negatives_ranking", "cached_multiple_negatives_symmetric_ranking"])
def test_mini_batch_size_is_kept_and_does_not_change_the_value(key):
    loss = get_loss(key, mini_batch_size=4)
    assert loss.cached
    assert loss.get_config()["mini_batch_size"] == 4
    batch = make_batch(key)
    plain = get_loss(key.removeprefix("cached_"))
    np.testing.assert_array_equal(
        values(loss.per_query(batch.labels, batch.scores)), values(plain.per_query(batch.labels, batch.scores))
    )


def test_hard_negatives_of_all_rows_are_candidates():
    batch = make_batch("multiple_negatives_ranking", rows=4, padded=False)
    with_negatives = multiple_negatives_ranking(None, batch.scores, batch.mask, None)
    without = multiple_negatives_ranking(None, batch.scores[:, :2], batch.mask, None)
    found = values(functional.multiple_negatives_ranking(None, batch.scores[:, :2]))
    np.testing.assert_allclose(found, without, rtol=1e-5)
    assert (np.array(with_negatives) > without).all()


@pytest.mark.parametrize(
    ("key", "params", "message"),
    [
        ("multiple_negatives_ranking", {"similarity": "euclid"}, "similarity"),
        ("multiple_negatives_ranking", {"gather_across_devices": 1}, "gather_across_devices"),
        ("cached_gist_embed", {"mini_batch_size": 0}, "mini_batch_size"),
        ("gist_embed", {"margin_strategy": "abs"}, "margin_strategy"),
        ("gist_embed", {"margin": -0.1}, "margin"),
        ("mega_batch_margin", {"positive_margin": "0.8"}, "positive_margin"),
        ("multi_similarity", {"beta": 0.0}, "beta"),
        ("multi_similarity", {"base": None}, "base"),
    ],
)
def test_wrong_value_is_refused(key, params, message):
    with pytest.raises(UserError, match=message):
        get_loss(key, **params)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"directions": ["doc_to_query"]}, "must contain 'query_to_doc'"),
        (
            {"directions": ["query_to_doc", "doc_to_doc"], "partition_mode": "per_direction"},
            "`partition_mode` of .* must be 'joint' with 'doc_to_doc'",
        ),
    ],
)
@pytest.mark.parametrize("key", ["multiple_negatives_ranking", "cached_multiple_negatives_ranking"])
def test_directions_without_a_positive_are_refused(key, params, message):
    with pytest.raises(UserError, match=message):
        get_loss(key, **params)


def test_both_directions_equal_the_symmetric_loss():
    batch = make_batch("multiple_negatives_ranking")
    both = {"directions": ["query_to_doc", "doc_to_query"], "partition_mode": "per_direction"}
    found = values(functional.multiple_negatives_ranking(None, batch.scores, batch.mask, **both))
    expected = values(functional.multiple_negatives_symmetric_ranking(None, batch.scores, batch.mask))
    np.testing.assert_array_equal(found, expected)


def test_guide_with_other_columns_is_refused():
    fn = get_loss("gist_embed").get_loss_fn()
    for shape in [(3,), (3, 2), (3, 3, 5)]:
        with pytest.raises(UserError, match="the guide's embeddings"):
            fn(np.zeros(shape), np.zeros((3, 2, 4)))
    with pytest.raises(UserError, match="C of at least 2 columns"):
        get_loss("multiple_negatives_ranking").get_loss_fn()(np.zeros(3), np.zeros((3, 4)))


@pytest.mark.parametrize(
    "key", ["multiple_negatives_ranking", "multiple_negatives_symmetric_ranking", "mega_batch_margin"]
)
def test_batch_of_one_row_warns(key):
    function = get_loss(key).get_loss_fn()
    with pytest.warns(UserWarning, match=f"'{key}': a batch of one row has no negatives"):
        value = function(np.zeros(1), np.ones((1, 2, 3), "float32"))
    assert np.isfinite(values(value))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        function(np.zeros(2), np.ones((2, 2, 3), "float32"))
