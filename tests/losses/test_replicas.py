"""Losses of a step on several devices: their sum, and that of their gradients, is what one device finds."""

from pathlib import Path

import pytest

from losses.cases import CASES, FAMILIES, KEYS
from losses.numeric import BACKEND
from replicas import run_on_replicas

PROGRAM = Path(__file__).parent / "on_replicas.py"
# Parameters that change what is counted over the batch.
OTHER_COUNTS = [
    ["softmax_cross_entropy", {"fn": {"reduction": "sum"}}],
    ["softmax_cross_entropy", {"fn": {"reduction": "none"}}],
    ["softmax_cross_entropy", {"fn": {"reduction": "mean_with_sample_weight"}}],
    ["pairwise_logistic", {"normalization": "batch", "min_label": 1.0}],
    ["mean_squared_error", {"normalization": "batch"}],
    ["root_mean_squared_error", {"normalization": "batch"}],
    ["prob_margin_ranking", {"normalization": "batch", "do_fine_small_difference": True}],
    ["contrastive", {"size_average": False}],
    ["splade", {"document_regularizer_weight": 0.3, "query_regularizer_weight": 0.2, "document_regularizer": "l1"}],
    ["matryoshka", {"loss": "multiple_negatives_ranking", "dims": [2, 4, 6], "n_dims_per_step": 2}],
    ["cross_encoder_multiple_negatives_ranking", {"num_negatives": None, "width": 16}],
    ["cross_encoder_multiple_negatives_ranking", {"num_negatives": 3, "width": 16}],
]
EVERY_KEY = [[key, dict(CASES[key].variants[0])] for key in KEYS]
FIRST_OF_FAMILY = [[next(iter(family.CASES)), {}] for family in FAMILIES]
IN_BATCH = [
    [key, {}]
    for key in (
        "cosent",
        "angle",
        "gist_embed",
        "global_orthogonal_regularization",
        "mega_batch_margin",
        "online_contrastive",
        "proxy_anchor",
        "sup_con",
        "batch_all_triplet",
        "flops",
        "csr_reconstruction",
        "cross_batch_memory",
        "denoising_auto_encoder",
    )
]


@pytest.mark.backend("tensorflow", "torch")  # JAX exchanges nothing
def test_gradients_add_up_to_those_of_one_device():
    """With weights, and lists that are all padding; torch, which is quicker, takes every loss of the catalogue."""
    cases = EVERY_KEY + OTHER_COUNTS if BACKEND == "torch" else FIRST_OF_FAMILY + IN_BATCH
    assert run_on_replicas(PROGRAM, cases) == []


@pytest.mark.slow
def test_gradients_with_other_parameters_add_up_to_those_of_one_device():
    """Every loss, and every normalisation of it; on JAX, which compiles each, the first loss of every family."""
    normalizations = [
        [key, dict(params)] for key in KEYS for params in CASES[key].variants if "normalization" in params
    ]
    every = EVERY_KEY + OTHER_COUNTS + normalizations
    if BACKEND == "jax":  # where a memory needs a model
        every = [[key, params] for key, params in FIRST_OF_FAMILY + IN_BATCH if not CASES[key].remembers]
    assert run_on_replicas(PROGRAM, every) == []
