"""What is compared: a name of the peer, its parameters, and the inputs on which both libraries mean the same."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

from embeddings import EMBEDDINGS


@dataclass(frozen=True)
class Case:
    """One line of the table.

    Args:
        name: the peer's class.
        params: its parameters; `lambda_weight` is (class, parameters).
        inputs: `list` (padding anywhere, ties of labels, lists of zeros, lists of padding), `filled` (no lists of
            padding), `pairs` (a pair in every batch), `near` (scores from 0 to 1), `whole` (no padding, no tied
            labels), `relevant` (`filled`, and relevance in every list that has a weight), `subtopics` (the same with
            labels [B, N, 3]), `sparse` (embeddings [B, C, D] and teacher scores), `parts` (outputs of a sparse
            auto-encoder), or what a loss of its own needs.
        outputs: logits per document; 0: y_pred is [B, N].
        weights: the kinds of weights that mean the same in both: none, list, item.
        temperatures: taken in turn by the batches.
        factor: ours times this is the peer's: `1`, or `N`, the padded length.
        left_out: why inputs are left out.
    """

    name: str
    params: dict[str, Any] = field(default_factory=dict)
    inputs: str = "list"
    outputs: int = 0
    weights: tuple[str, ...] = ("none", "list", "item")
    temperatures: tuple[float, ...] = ()
    factor: str = "1"
    left_out: str = ""

    @property
    def id(self) -> str:
        shown = [f"{name}={_show(value)}" for name, value in self.params.items()]
        return f"{self.name}({', '.join(shown)})"


def _show(value: Any) -> str:
    if isinstance(value, dict):
        value = (value["loss"], {name: part for name, part in value.items() if name != "loss"})
    return (
        f"{value[0]}({', '.join(f'{n}={v}' for n, v in value[1].items())})" if isinstance(value, tuple) else str(value)
    )


SOFT, SHARP = (1.0, 0.5, 2.0), (1.0, 0.1, 0.5)
MASKED = "T < 0.5: TF-Ranking's padding has the score ln 1e-10"
RANKS = "T < 0.5: it ranks padding 1e-6 below the lowest score, which float32 loses beside scores of 32"
PADDED = "padding and tied labels: TF-Ranking sorts padding into the list and shuffles ties"
PAIRWISE = ("PairwiseHingeLoss", "PairwiseLogisticLoss", "PairwiseSoftZeroOneLoss", "PairwiseMSELoss")
LAMBDAS = (
    ("LabelDiffLambdaWeight", {}),
    ("DCGLambdaWeight", {}),
    ("DCGLambdaWeight", {"normalized": True, "smooth_fraction": 0.25}),
    ("NDCGLambdaWeight", {"topn": 3}),
    ("NDCGLambdaWeight", {"smooth_fraction": 1.0}),
    ("NDCGLambdaWeightV2", {"topn": 3}),
    ("YetiDCGLambdaWeight", {"topn": 3}),
    ("PrecisionLambdaWeight", {"topn": 2}),
)
_PLAIN = ("LabelDiffLambdaWeight", "PrecisionLambdaWeight")

TFR_LOSSES = [
    *(Case(name, temperatures=SHARP) for name in PAIRWISE),
    *(
        Case(
            name,
            {"lambda_weight": weight},
            temperatures=SOFT,
            factor="1" if weight[0] in _PLAIN else "N",
            left_out=RANKS,
        )
        for name, weight in itertools.product(PAIRWISE, LAMBDAS)
    ),
    Case("SoftmaxLoss", temperatures=SOFT, left_out=MASKED),
    Case("SoftmaxLoss", {"lambda_weight": LAMBDAS[1]}, temperatures=SOFT, left_out=MASKED),
    Case("SoftmaxLoss", {"lambda_weight": LAMBDAS[3]}, temperatures=SOFT, left_out=MASKED),
    Case("CalibratedSoftmaxLoss", {"virtual_label": 0.5}, temperatures=SOFT, left_out=MASKED),
    Case("UniqueSoftmaxLoss", temperatures=SOFT, left_out=MASKED),
    Case("SigmoidCrossEntropyLoss"),
    Case("MeanSquaredLoss"),
    Case("OrdinalLoss", {"ordinal_size": 3}, outputs=3),
    Case("OrdinalLoss", {"ordinal_size": 3, "use_fraction_label": True}, outputs=3),
    Case("ClickEMLoss", {"exam_loss_weight": 2.0, "rel_loss_weight": 0.5}, outputs=2),
    Case("MixtureEMLoss", {"alpha": 0.5}, outputs=3, weights=("none", "list"), left_out="item weights: it averages"),
    Case("ListMLELoss", inputs="whole", temperatures=SOFT, left_out=PADDED),
    Case("ApproxNDCGLoss", temperatures=SHARP),
    Case("ApproxMRRLoss", temperatures=SHARP),
    Case(
        "CircleLoss", {"gamma": 4.0, "margin": 0.1}, inputs="whole", weights=("none", "list"), left_out="no pair: NaN"
    ),
    Case("PolyOneSoftmaxLoss", {"epsilon": 2.0}, temperatures=SOFT, left_out=MASKED),
    Case("NeuralSortCrossEntropyLoss", inputs="near", left_out="scores far apart: a floor of 1e-20 inside the log"),
    Case("NeuralSortNDCGLoss", temperatures=SHARP),
]
TFR_V1 = ("CircleLoss", "PolyOneSoftmaxLoss", "NeuralSortCrossEntropyLoss", "NeuralSortNDCGLoss")
COUNTED = "lists of padding count as 0 there; weighted lists without relevance by the batch's others"
TFR_METRICS = [
    Case(name, {} if topn is None else {"topn": topn}, inputs="relevant", left_out=COUNTED)
    for name, topn in itertools.product(
        (
            "MRRMetric",
            "HitsMetric",
            "PrecisionMetric",
            "RecallMetric",
            "MeanAveragePrecisionMetric",
            "NDCGMetric",
            "DCGMetric",
        ),
        (None, 3),
    )
] + [
    Case("ARPMetric"),
    Case("OPAMetric"),
    *(
        Case(name, params, inputs="subtopics", left_out=COUNTED)
        for name, params in (
            ("PrecisionIAMetric", {}),
            ("PrecisionIAMetric", {"topn": 3}),
            ("AlphaDCGMetric", {}),
            ("AlphaDCGMetric", {"topn": 3, "alpha": 0.2}),
        )
    ),
]

SCHEMES = ("NoWeightingScheme", "NDCGLoss1Scheme", "NDCGLoss2Scheme", "LambdaRankScheme", "NDCGLoss2PPScheme")
ST_LOSSES = [
    *(Case("LambdaLoss", {"weighting_scheme": scheme}, inputs="pairs") for scheme in SCHEMES),
    *(Case("LambdaLoss", {"weighting_scheme": scheme, "k": 3}, inputs="pairs") for scheme in SCHEMES[1:]),
    Case("LambdaLoss", {"sigma": 0.5}, inputs="pairs"),
    Case("RankNetLoss", inputs="pairs"),
    Case("RankNetLoss", {"reduction_log": "natural", "k": 2}, inputs="pairs"),
    Case("ListNetLoss", inputs="filled", left_out="empty lists: NaN"),
    Case("ListMLELoss", inputs="filled"),
    Case("ListMLELoss", {"respect_input_order": False}, inputs="filled"),
    Case("PListMLELoss", inputs="filled"),
    Case("PListMLELoss", {"discount": "log2"}, inputs="filled"),
    Case("PListMLELoss", {"discount": "log2", "respect_input_order": False}, inputs="filled"),
    Case("BinaryCrossEntropyLoss", inputs="rows"),
    Case("BinaryCrossEntropyLoss", {"pos_weight": 2.5}, inputs="rows"),
    Case("BinaryCrossEntropyLoss", {"weight": 0.5, "reduction": "sum"}, inputs="rows"),
    Case("MSELoss", inputs="rows"),
    Case("CrossEntropyLoss", {"label_smoothing": 0.1}, inputs="classes"),
    Case("CrossEntropyLoss", {"weight": [1.0, 2.0, 0.5]}, inputs="classes"),
    Case("CrossEntropyLoss", {"weight": [1.0, 2.0, 0.5], "reduction": "sum"}, inputs="classes"),
    Case("MarginMSELoss", inputs="columns"),
    Case("MultipleNegativesRankingLoss", {"num_negatives": None}, inputs="candidates"),
    Case("CachedMultipleNegativesRankingLoss", {"num_negatives": None, "mini_batch_size": 3}, inputs="candidates"),
]
RANKING = "SparseMultipleNegativesRankingLoss"
SPLADE = {"document_regularizer_weight": 0.3}
ST_SPARSE = [
    Case(RANKING, inputs="sparse"),
    Case(RANKING, {"similarity_fct": "cos_sim", "scale": 20.0}, inputs="sparse"),
    Case(
        RANKING,
        {"directions": ["query_to_doc", "doc_to_query"], "hardness_mode": "all_negatives", "hardness_strength": 2.0},
        inputs="sparse",
    ),
    Case("SparseDistillKLDivLoss", inputs="sparse"),
    Case("SparseDistillKLDivLoss", {"student_temperature": 0.5, "teacher_temperature": 3.0}, inputs="sparse"),
    Case("SparseDistillKLDivLoss", {"temperature": 0.5}, inputs="sparse"),
    Case("SpladeLoss", {"loss": {"loss": RANKING}, **SPLADE, "query_regularizer_weight": 0.1}, inputs="sparse"),
    Case("SpladeLoss", {"loss": {"loss": "SparseDistillKLDivLoss"}, **SPLADE}, inputs="sparse"),
    Case("CachedSpladeLoss", {"loss": {"loss": RANKING}, **SPLADE, "mini_batch_size": 2}, inputs="sparse"),
    Case("CSRReconstructionLoss", inputs="parts"),
    Case("CSRLoss", inputs="parts"),
    Case("CSRLoss", {"loss": {"loss": RANKING, "scale": 5.0}, "beta": 1.0, "gamma": 0.5}, inputs="parts"),
]
CASES = {"tfr": [*TFR_LOSSES, *TFR_METRICS], "st": [*ST_LOSSES, *EMBEDDINGS, *ST_SPARSE]}
