"""What `bench.py` compares: losses with their names at the peers, and shapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

PEERS = {
    "ours": "ours (TensorFlow)",
    "ours-xla": "ours (XLA)",
    "ours-jax": "ours (JAX)",
    "ours-torch": "ours (torch)",
    "bare": "bare TensorFlow",
    "tfr": "TF-Ranking",
    "krs": "keras-rs",
    "rax": "Rax",
    "st": "sentence-transformers",
    "allrank": "allRank",
}
OURS = ("ours", "ours-xla", "ours-jax", "ours-torch")
COMPARED = tuple(peer for peer in PEERS if peer not in (*OURS, "bare"))
TENSORFLOW = ("tfr", "krs")
LEVELS = 4  # of the labels 0..4

Spec = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """A loss: its name in the tables, our key and parameters, and the same loss at each peer.

    Args:
        family: `pairwise`, `lambda`, `approx` (with NeuralSort), `in_batch` (of embeddings) or `other`: which target
            applies.
        quadratic: whether its memory is measured by default, as that of all other families is.
        labels: `graded` 0..4 or `unit` 0..1.
        scores: `normal` with deviation 3, or `unit` 0..1.
        outputs: scores per document; 0: [B, N].
    """

    name: str
    ours: Spec
    peers: dict[str, Spec]
    family: str = "other"
    quadratic: bool = False
    labels: str = "graded"
    scores: str = "normal"
    outputs: int = 0

    @property
    def large(self) -> bool:
        return self.quadratic or self.family != "other"

    @property
    def shapes(self) -> tuple[str, ...]:
        return EMBEDDINGS if self.family == "in_batch" else LISTS

    def spec(self, peer: str) -> Spec | None:
        if peer == "ours-xla" and self.large:
            return None  # what is large is compiled anyway
        return self.ours if peer in OURS else self.peers.get(peer)


def _pairwise(name: str, tfr: str, krs: str, rax: str, **others: Spec) -> Case:
    peers = {"tfr": (tfr, {}), "krs": (krs, {}), "rax": (rax, {}), **others}
    return Case(name, (name, {}), peers, "pairwise")


def _scheme(scheme: str, st: str, k: int | None = None) -> Case:
    top = {} if k is None else {"k": k}
    same = st.replace("NDCG", "ndcg").replace("Lambda", "lambda").replace("Scheme", "_scheme")
    peers = {
        "st": ("LambdaLoss", {"weighting_scheme": st, **top}),
        "allrank": ("lambdaLoss", {"weighing_scheme": same, **top}),
    }
    name = f"lambda_loss, {scheme}" + (f", k={k}" if k else "")
    return Case(name, ("lambda_loss", {"weighting_scheme": scheme, **top}), peers, "lambda")


def _weighted(key: str, tfr: str, rax: str, topn: int | None = None) -> Case:
    """The logistic loss with a lambda weight of NDCG."""
    top = {} if topn is None else {"topn": topn}
    peers = {
        "tfr": ("PairwiseLogisticLoss", {"lambda_weight": (tfr, top)}),
        "rax": ("pairwise_logistic_loss", {"lambda_weight": (rax, {"normalize": True, **top})}),
    }
    name = f"pairwise_logistic, {key}" + (f", topn={topn}" if topn else "")
    ours = ("pairwise_logistic", {"lambda_weight": {"key": key, **top}})
    return Case(name, ours, peers, "lambda")


def _in_batch(key: str, st: str) -> Case:
    return Case(key, (key, {}), {"st": (st, {})}, "in_batch")


CASES = [
    _pairwise(
        "pairwise_logistic",
        "PairwiseLogisticLoss",
        "PairwiseLogisticLoss",
        "pairwise_logistic_loss",
        st=("RankNetLoss", {}),
        allrank=("rankNet", {}),
    ),
    _pairwise("pairwise_hinge", "PairwiseHingeLoss", "PairwiseHingeLoss", "pairwise_hinge_loss"),
    _pairwise(
        "pairwise_soft_zero_one",
        "PairwiseSoftZeroOneLoss",
        "PairwiseSoftZeroOneLoss",
        "pairwise_soft_zero_one_loss",
    ),
    _pairwise("pairwise_mse", "PairwiseMSELoss", "PairwiseMeanSquaredError", "pairwise_mse_loss"),
    Case(
        "pairwise_quantile",
        ("pairwise_quantile", {}),
        {"rax": ("pairwise_qr_loss", {})},
        "pairwise",
    ),
    Case(
        "yeti_logistic",
        ("yeti_logistic", {"seed": 1}),
        {"tfr": ("YetiLogisticLoss", {"seed": 1})},
        "pairwise",
    ),
    _scheme("ndcg_loss2pp", "NDCGLoss2PPScheme"),
    _scheme("ndcg_loss2", "NDCGLoss2Scheme"),
    _scheme("lambda_rank", "LambdaRankScheme"),
    _scheme("ndcg_loss2pp", "NDCGLoss2PPScheme", k=10),
    _weighted("ndcg", "NDCGLambdaWeight", "dcg_lambdaweight"),
    _weighted("ndcg_v2", "NDCGLambdaWeightV2", "dcg2_lambdaweight"),
    _weighted("ndcg", "NDCGLambdaWeight", "dcg_lambdaweight", topn=10),
    _weighted("ndcg_v2", "NDCGLambdaWeightV2", "dcg2_lambdaweight", topn=10),
    Case(
        "approx_ndcg",
        ("approx_ndcg", {}),
        {
            "tfr": ("ApproxNDCGLoss", {}),
            "rax": ("ndcg_metric", {"temperature": 0.1}),
            "allrank": ("approxNDCGLoss", {"alpha": 10.0}),
        },
        "approx",
    ),
    Case(
        "approx_mrr",
        ("approx_mrr", {}),
        {"tfr": ("ApproxMRRLoss", {}), "rax": ("mrr_metric", {"temperature": 0.1})},
        "approx",
    ),
    Case(
        "gumbel_approx_ndcg",
        ("gumbel_approx_ndcg", {"seed": 1}),
        {"tfr": ("GumbelApproxNDCGLoss", {"seed": 1}), "rax": ("ndcg_metric", {"temperature": 0.1, "samples": 8})},
        "approx",
    ),
    Case(
        "neural_sort_cross_entropy",
        ("neural_sort_cross_entropy", {}),
        {"tfr": ("NeuralSortCrossEntropyLoss", {})},
        "approx",
    ),
    Case(
        "neural_sort_ndcg",
        ("neural_sort_ndcg", {}),
        {"tfr": ("NeuralSortNDCGLoss", {})},
        "approx",
    ),
    Case(
        "gumbel_neural_sort_cross_entropy",
        ("gumbel_neural_sort_cross_entropy", {"seed": 1}),
        {"tfr": ("NeuralSortCrossEntropyLoss", {"sample_size": 8})},
        "approx",
    ),
    Case(
        "gumbel_neural_sort_ndcg",
        ("gumbel_neural_sort_ndcg", {"seed": 1}),
        {"tfr": ("NeuralSortNDCGLoss", {"sample_size": 8})},
        "approx",
    ),
    Case("neural_ndcg", ("neural_ndcg", {}), {"allrank": ("neuralNDCG", {})}, "approx"),
    Case("adr_mse", ("adr_mse", {}), {"st": ("ADRMSELoss", {})}, quadratic=True),
    Case(
        "circle",
        ("circle", {"gamma": 4.0}),
        {"tfr": ("CircleLoss", {"gamma": 4.0})},
        quadratic=True,
        scores="unit",
    ),
    Case(
        "unique_softmax",
        ("unique_softmax", {}),
        {"tfr": ("UniqueSoftmaxLoss", {}), "rax": ("unique_softmax_loss", {})},
        quadratic=True,
    ),
    Case(
        "list_mle",
        ("list_mle", {}),
        {
            "tfr": ("ListMLELoss", {}),
            "krs": ("ListMLELoss", {}),
            "rax": ("listmle_loss", {}),
            "st": ("ListMLELoss", {"respect_input_order": False}),
            "allrank": ("listMLE", {}),
        },
    ),
    Case("p_list_mle", ("p_list_mle", {}), {"st": ("PListMLELoss", {"respect_input_order": False})}),
    Case(
        "softmax_cross_entropy",
        ("softmax_cross_entropy", {}),
        {"bare": ("softmax_cross_entropy", {}), "tfr": ("SoftmaxLoss", {}), "rax": ("softmax_loss", {})},
    ),
    Case("listnet", ("listnet", {}), {"st": ("ListNetLoss", {}), "allrank": ("listNet", {})}),
    Case("binary_listnet", ("binary_listnet", {}), {"allrank": ("binary_listNet", {})}),
    Case(
        "poly1_softmax",
        ("poly1_softmax", {}),
        {"tfr": ("PolyOneSoftmaxLoss", {}), "rax": ("poly1_softmax_loss", {})},
    ),
    Case("calibrated_softmax", ("calibrated_softmax", {}), {"tfr": ("CalibratedSoftmaxLoss", {})}),
    Case(
        "coupled_rank_distil",
        ("coupled_rank_distil", {"seed": 1}),
        {"tfr": ("CoupledRankDistilLoss", {})},
    ),
    Case(
        "sigmoid_cross_entropy",
        ("sigmoid_cross_entropy", {}),
        {
            "tfr": ("SigmoidCrossEntropyLoss", {}),
            "rax": ("pointwise_sigmoid_loss", {}),
            "st": ("BinaryCrossEntropyLoss", {}),
            "allrank": ("bce", {}),
        },
        labels="unit",
    ),
    Case(
        "mean_squared_error",
        ("mean_squared_error", {}),
        {
            "bare": ("mean_squared_error", {}),
            "tfr": ("MeanSquaredLoss", {}),
            "rax": ("pointwise_mse_loss", {}),
            "st": ("MSELoss", {}),
        },
    ),
    Case(
        "root_mean_squared_error",
        ("root_mean_squared_error", {"no_of_levels": LEVELS}),
        {"allrank": ("pointwise_rmse", {"no_of_levels": LEVELS})},
    ),
    Case(
        "ordinal",
        ("ordinal", {"ordinal_size": LEVELS}),
        {"tfr": ("OrdinalLoss", {"ordinal_size": LEVELS}), "allrank": ("ordinal", {"n": LEVELS})},
        outputs=LEVELS,
    ),
    Case("click_em", ("click_em", {}), {"tfr": ("ClickEMLoss", {})}, labels="unit", outputs=2),
    Case("mixture_em", ("mixture_em", {}), {"tfr": ("MixtureEMLoss", {})}, labels="unit", outputs=2),
    _in_batch("multiple_negatives_ranking", "MultipleNegativesRankingLoss"),
    _in_batch("multiple_negatives_symmetric_ranking", "MultipleNegativesSymmetricRankingLoss"),
]
BY_NAME = {case.name: case for case in CASES}

SHAPES = {
    "64x200": (64, 200),
    "32x1000": (32, 1000),
    "8x4000": (8, 4000),
    "ragged": (128, 1251),
    "16384x256": (16384, 256),
    "tiny": (2, 8),
    "small": (8, 200),
}
LISTS, EMBEDDINGS = ("64x200", "32x1000", "8x4000", "ragged"), ("16384x256",)
