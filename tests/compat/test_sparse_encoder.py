"""Positional parameters and defaults of sentence-transformers 6.2.0's sparse losses."""

import inspect

import pytest

from ml4ir_losses.compat.sentence_transformers import losses, sparse_encoder

SPLADE = (
    *("model", "loss", "document_regularizer_weight", "query_regularizer_weight", "document_regularizer"),
    *("query_regularizer", "document_regularizer_threshold", "query_regularizer_threshold"),
    "use_document_regularizer_only",
)
POSITIONAL = {
    "FlopsLoss": ("model", "threshold"),
    "SpladeLoss": SPLADE,
    "CachedSpladeLoss": (*SPLADE, "mini_batch_size", "mini_batch_num_tokens", "show_progress_bar"),
    "CSRReconstructionLoss": ("model", "beta"),
    "CSRLoss": ("model", "loss", "beta", "gamma"),
}
CHANGED = {
    "SparseMultipleNegativesRankingLoss": {"scale": 1.0, "similarity_fct": "dot_score"},
    "SparseDistillKLDivLoss": {"temperature": 2.0},
}


@pytest.mark.parametrize("name", POSITIONAL)
def test_positional_parameters(name):
    parameters = inspect.signature(getattr(sparse_encoder.losses, name)).parameters.values()
    assert tuple(p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD) == POSITIONAL[name]


@pytest.mark.parametrize("name", CHANGED)
def test_dense_loss_with_other_defaults(name):
    sparse = inspect.signature(getattr(sparse_encoder.losses, name)).parameters
    dense = inspect.signature(getattr(losses, name.removeprefix("Sparse"))).parameters
    assert list(sparse) == list(dense)
    changed = {n: p.default for n, p in sparse.items() if p.default != dense[n].default}
    assert changed == CHANGED[name]
    assert repr(getattr(losses, name)()) == f"{name}()"
    (first, value) = next(iter(changed.items()))
    assert getattr(losses, name)().loss.params[first] == value


def test_defaults_of_the_inner_losses_are_the_peers():
    csr = losses.CSRLoss().loss
    assert (csr.inner.key, csr.inner.params["scale"], csr.inner.params["similarity"]) == (
        *("multiple_negatives_ranking", 1.0),
        "dot",
    )
    assert (csr.params["beta"], losses.CSRReconstructionLoss().loss.params["beta"]) == (0.1, 1.0)
    splade = losses.SpladeLoss(None, losses.SparseMarginMSELoss(), 0.1).loss
    assert (splade.params["document_regularizer"], splade.params["query_regularizer"]) == ("flops", "flops")
