"""What `bench.py` compares: every loss with its name in each library, the shapes, and the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

LIBRARIES = {
    "ours": "ours, TensorFlow",
    "ours-jax": "ours, JAX",
    "ours-torch": "ours, PyTorch",
    "tfr": "TF-Ranking",
    "krs": "keras-rs",
    "rax": "Rax",
    "st": "sentence-transformers",
    "allrank": "allRank",
    "plain_torch": "plain PyTorch",
    "plain_keras": "plain Keras",
}
OURS = ("ours", "ours-jax", "ours-torch")
OWN_CODE = ("plain_torch",)  # what a user writes without a library
GRADES = 4  # labels are 0..4

LISTS = {"64x200": (64, 200), "32x1000": (32, 1000), "8x4000": (8, 4000), "1x60000": (1, 60_000), "ragged": (128, 1251)}
EMBEDDINGS = {"16384x256": (16384, 256)}
TEXTS = {"512 texts": 512, "2048 texts": 2048, "8192 texts": 8192}
SHAPES = {"lists": tuple(LISTS), "embeddings": tuple(EMBEDDINGS), "texts": tuple(TEXTS), "training": ("training",)}
LONGEST = "1x60000"  # a matrix of pairs has 14 GB, too much for the other libraries
MEMORY = ("8x4000", LONGEST, *EMBEDDINGS, *TEXTS)  # where memory is measured
WARM_UP = {"lists": (8, 200), "embeddings": (8, 64), "texts": 64}  # sizes of the step before the measured one

Spec = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """A row of the tables: a loss with its name and parameters in each library.

    Args:
        kind: `lists` of documents, `embeddings` of pairs, whole steps on `texts`, or `training` for an epoch.
        pairs: compares documents in pairs, so that its memory is worth a measurement.
        labels: `grades` 0..4, or `unit` from 0 to 1.
        scores: `normal` with deviation 3, or `unit` from 0 to 1.
        outputs: scores per document; 0 for [B, N].
        group: of the table of ratios: `plain` pairs, or pairs with `ndcg` weights; "" for none.
    """

    name: str
    specs: dict[str, Spec]
    kind: str = "lists"
    pairs: bool = False
    labels: str = "grades"
    scores: str = "normal"
    outputs: int = 0
    group: str = ""

    def spec(self, library: str) -> Spec | None:
        return self.specs.get("ours" if library in OURS else library)

    def is_measured(self, library: str, shape: str) -> bool:
        """True if the library has the loss and the shape is one of this row's."""
        if shape not in SHAPES[self.kind] or self.spec(library) is None:
            return False
        if shape == LONGEST:
            return bool(self.group) and library in OURS
        return self.kind in ("lists", "embeddings") or library not in OURS[1:]


def _case(name: str, params: dict[str, Any] | None = None, **more: Any) -> Case:
    """`library=name` or `library=(name, parameters)`; the key of our loss is the row's name up to the first comma."""
    given = {library: more.pop(library) for library in (*LIBRARIES, "ours") if library in more}
    specs = {library: (spec, {}) if isinstance(spec, str) else spec for library, spec in given.items()}
    return Case(name, {"ours": (name.split(",")[0], params or {}), **specs}, **more)


def _plain_torch(weight: str) -> Spec:
    """The logistic loss with a weight of pairs."""
    return "pairwise", {"term": "logistic", "weight": weight}


def _lambda_loss(scheme: str, peer: str, k: int | None = None, **more: Any) -> Case:
    top = {} if k is None else {"k": k}
    allrank = peer.replace("NDCG", "ndcg").replace("Lambda", "lambda").replace("Scheme", "_scheme")
    return _case(
        f"lambda_loss, {scheme}" + (f", k={k}" if k else ""),
        {"weighting_scheme": scheme, "normalization": "batch", **top},
        pairs=True,
        st=("LambdaLoss", {"weighting_scheme": peer, **top}),
        allrank=("lambdaLoss", {"weighing_scheme": allrank, **top}),
        **more,
    )


def _weighted(key: str, tfr: str, rax: str | None, params: dict[str, Any] | None = None, **more: Any) -> Case:
    """The pairwise logistic loss with a lambda weight of NDCG."""
    params = params or {}
    if rax:
        top = {name: value for name, value in params.items() if name == "topn"}  # smooth_fraction: another function
        more["rax"] = ("pairwise_logistic_loss", {"lambda_weight": (rax, {"normalize": True, **top})})
    return _case(
        ", ".join(["pairwise_logistic", key, *(f"{name}={value:g}" for name, value in params.items())]),
        {"lambda_weight": {"key": key, **params}},
        pairs=True,
        tfr=("PairwiseLogisticLoss", {"lambda_weight": (tfr, params)}),
        **more,
    )


ONE, SAMPLED = {"seed": 1}, {"temperature": 0.1, "samples": 8}
LEVELS = {"no_of_levels": GRADES}
CASES = [
    _case(
        "pairwise_logistic",
        pairs=True,
        tfr="PairwiseLogisticLoss",
        krs="PairwiseLogisticLoss",
        rax="pairwise_logistic_loss",
        st="RankNetLoss",
        allrank="rankNet",
        plain_torch=("pairwise", {"term": "logistic"}),
        group="plain",
    ),
    _case(
        "pairwise_hinge",
        pairs=True,
        tfr="PairwiseHingeLoss",
        krs="PairwiseHingeLoss",
        rax="pairwise_hinge_loss",
        plain_torch=("pairwise", {"term": "hinge"}),
        group="plain",
    ),
    _case(
        "pairwise_soft_zero_one",
        pairs=True,
        tfr="PairwiseSoftZeroOneLoss",
        krs="PairwiseSoftZeroOneLoss",
        rax="pairwise_soft_zero_one_loss",
        plain_torch=("pairwise", {"term": "soft_zero_one"}),
        group="plain",
    ),
    _case("pairwise_mse", pairs=True, tfr="PairwiseMSELoss", krs="PairwiseMeanSquaredError", rax="pairwise_mse_loss"),
    _case("pairwise_quantile", pairs=True, rax="pairwise_qr_loss"),
    _case("yeti_logistic", ONE, pairs=True, tfr=("YetiLogisticLoss", ONE)),
    _lambda_loss("ndcg_loss2pp", "NDCGLoss2PPScheme", plain_torch=_plain_torch("ndcg_loss2pp")),
    _lambda_loss("ndcg_loss2", "NDCGLoss2Scheme"),
    _lambda_loss("lambda_rank", "LambdaRankScheme", plain_torch=_plain_torch("lambda_rank"), group="ndcg"),
    _lambda_loss("ndcg_loss2pp", "NDCGLoss2PPScheme", k=10),
    _weighted("ndcg", "NDCGLambdaWeight", "dcg2_lambdaweight", plain_torch=_plain_torch("ndcg"), group="ndcg"),
    _weighted(
        "ndcg",
        "NDCGLambdaWeight",
        "dcg_lambdaweight",
        {"smooth_fraction": 1.0},
        plain_torch=_plain_torch("lambda_rank"),
        group="ndcg",
    ),
    _weighted("ndcg_v2", "NDCGLambdaWeightV2", "dcg2_lambdaweight"),
    _weighted("ndcg", "NDCGLambdaWeight", None, {"topn": 10}),
    _weighted("ndcg_v2", "NDCGLambdaWeightV2", "dcg2_lambdaweight", {"topn": 10}),
    _case(
        "approx_ndcg",
        pairs=True,
        tfr="ApproxNDCGLoss",
        rax=("ndcg_metric", {"temperature": 0.1}),
        allrank=("approxNDCGLoss", {"alpha": 10.0}),
        plain_torch="approx_ndcg",
        group="plain",
    ),
    _case("approx_mrr", pairs=True, tfr="ApproxMRRLoss", rax=("mrr_metric", {"temperature": 0.1})),
    _case("gumbel_approx_ndcg", ONE, pairs=True, tfr=("GumbelApproxNDCGLoss", ONE), rax=("ndcg_metric", SAMPLED)),
    _case("neural_sort_cross_entropy", pairs=True, tfr="NeuralSortCrossEntropyLoss"),
    _case("neural_sort_ndcg", pairs=True, tfr="NeuralSortNDCGLoss"),
    _case("gumbel_neural_sort_cross_entropy", ONE, pairs=True, tfr=("NeuralSortCrossEntropyLoss", {"sample_size": 8})),
    _case("gumbel_neural_sort_ndcg", ONE, pairs=True, tfr=("NeuralSortNDCGLoss", {"sample_size": 8})),
    _case("neural_ndcg", pairs=True, allrank="neuralNDCG"),
    _case("adr_mse", pairs=True, st="ADRMSELoss"),
    _case("circle", {"gamma": 4.0}, pairs=True, tfr=("CircleLoss", {"gamma": 4.0}), scores="unit"),
    _case("unique_softmax", pairs=True, tfr="UniqueSoftmaxLoss", rax="unique_softmax_loss"),
    _case(
        "list_mle",
        tfr="ListMLELoss",
        krs="ListMLELoss",
        rax="listmle_loss",
        st=("ListMLELoss", {"respect_input_order": False}),
        allrank="listMLE",
    ),
    _case("p_list_mle", st=("PListMLELoss", {"respect_input_order": False})),
    _case("softmax_cross_entropy", tfr="SoftmaxLoss", rax="softmax_loss"),
    _case("listnet", st="ListNetLoss", allrank="listNet"),
    _case("binary_listnet", allrank="binary_listNet"),
    _case("poly1_softmax", tfr="PolyOneSoftmaxLoss", rax="poly1_softmax_loss"),
    _case("calibrated_softmax", tfr="CalibratedSoftmaxLoss"),
    _case("coupled_rank_distil", ONE, tfr="CoupledRankDistilLoss"),
    _case(
        "sigmoid_cross_entropy",
        tfr="SigmoidCrossEntropyLoss",
        rax="pointwise_sigmoid_loss",
        st="BinaryCrossEntropyLoss",
        allrank="bce",
        labels="unit",
    ),
    _case("mean_squared_error", tfr="MeanSquaredLoss", rax="pointwise_mse_loss", st="MSELoss"),
    _case("root_mean_squared_error", LEVELS, allrank=("pointwise_rmse", LEVELS)),
    _case(
        "ordinal",
        {"ordinal_size": GRADES},
        tfr=("OrdinalLoss", {"ordinal_size": GRADES}),
        allrank=("ordinal", {"n": GRADES}),
        outputs=GRADES,
    ),
    _case("click_em", tfr="ClickEMLoss", labels="unit", outputs=2),
    _case("mixture_em", tfr="MixtureEMLoss", labels="unit", outputs=2),
    _case("multiple_negatives_ranking", kind="embeddings", st="MultipleNegativesRankingLoss"),
    _case("multiple_negatives_symmetric_ranking", kind="embeddings", st="MultipleNegativesSymmetricRankingLoss"),
    _case("multiple_negatives_ranking, whole batch", kind="texts"),
    _case("cached_multiple_negatives_ranking, mini-batches of 32", {"mini_batch_size": 32}, kind="texts"),
    _case("lambda_loss, training", kind="training", allrank=("lambdaLoss", {"weighing_scheme": "ndcgLoss2PP_scheme"})),
    _case("lambda_loss, training with ndcg and mrr", kind="training"),
    _case(
        "pairwise_logistic, ndcg, training",
        {"lambda_weight": "ndcg"},
        kind="training",
        tfr=("PairwiseLogisticLoss", {"lambda_weight": ("NDCGLambdaWeight", {})}),
    ),
    _case("softmax_cross_entropy, training", kind="training", tfr="SoftmaxLoss"),
    _case("mean_squared_error, training", kind="training", tfr="MeanSquaredLoss", plain_keras="mean_squared_error"),
    _case("mean_squared_error, training, plain documents", kind="training", plain_keras="mean_squared_error"),
]
BY_NAME = {case.name: case for case in CASES}


@dataclass(frozen=True)
class Arrays:
    """labels [B, N] with -1 as padding, scores [B, N] or [B, N, outputs], mask [B, N]; documents come first.

    Embeddings: labels [B], and as scores the embeddings [B, 2, D].
    """

    labels: np.ndarray
    scores: np.ndarray
    mask: np.ndarray


def lengths(count: int, longest: int, rng: np.random.Generator) -> np.ndarray:
    """List lengths like those of MSLR-WEB30K: lognormal, mean 120."""
    deviation = 0.6
    drawn = rng.lognormal(np.log(120) - deviation**2 / 2, deviation, count)
    return np.clip(np.rint(drawn), 2, longest).astype(int)


def arrays(case: Case, shape: str, warm_up: bool = False) -> Arrays:
    """The same arrays in every process; `warm_up`: smaller ones."""
    rng = np.random.default_rng(0)
    size: Any = WARM_UP[case.kind] if warm_up else (LISTS | EMBEDDINGS)[shape]
    if case.kind == "embeddings":
        embeddings = rng.normal(size=(size[0], 2, size[1])).astype("float32")
        return Arrays(np.zeros(size[0], "float32"), embeddings, np.ones(size[0], bool))
    sizes = np.full(size[0], size[1])
    if shape == "ragged" and not warm_up:
        sizes[1:] = lengths(size[0] - 1, size[1], rng)
    mask = np.arange(size[1]) < sizes[:, None]
    labels = rng.integers(0, GRADES + 1, size).astype("float32")
    if case.labels == "unit":
        labels /= GRADES
    wide = (*size, case.outputs) if case.outputs else size
    scores = rng.random(wide) if case.scores == "unit" else rng.normal(0, 3, wide)
    return Arrays(np.where(mask, labels, -1).astype("float32"), scores.astype("float32"), mask)
