"""TF-Ranking 0.5.5's values and weights of metrics (`tests/golden/tfr_metrics.json`), and where ours differ."""

import json
from pathlib import Path

import numpy as np

CASES = {
    case["id"]: case
    for case in json.loads((Path(__file__).parents[1] / "golden" / "tfr_metrics.json").read_text(encoding="utf-8"))
}
FUNCTIONS = {"half": lambda x: x / 2, "inverse_plus_10": lambda r: 1 / (r + 10)}


def _ids(text):
    """`"163 723-724"` → {"tfr-0163", "tfr-0723", "tfr-0724"}."""
    spans = [[int(n) for n in part.split("-")] for part in text.split()]
    return {f"tfr-{n:04d}" for span in spans for n in range(span[0], span[-1] + 1)}


# Not compared: a list that is all padding counts as 0 in TF-Ranking, and never counts here.
# Nor is a document of which some subtopics are padding: TF-Ranking counts the label -1, here it counts as 0.
LEFT_OUT = {"tfr-0841", "tfr-0842"}
# Compared with TF-Ranking's weight of a query without relevance, which is the mean over the other queries of its batch
# (1 if there is none); here it is the mean over the documents of the query.
BATCH_WEIGHT = _ids(
    "88 163 179 187 200 379 391 411 424 437 448 463 504 516 723-724 726-727 729-730 732-733 735-736 738-739 741-742 "
    "744-745 747-748 750-751 753-754 756-757 759-760 762-763 765-766 768-769 771-772 774-775 777-778 780-781 786-787 "
    "789-790 792-793 795-796 798-799 801-802 804-805 807-808 817 820 823 826"
)
# Compared with the weights [N] broadcast to [B, N], as in TF-Ranking; here [N] is an error.
BROADCAST = _ids("81-82 87 134 156 157 162")


def id_of(case_id):
    """The id with the key of the metric, so that `pytest -k KEY` selects the case."""
    return f"{case_id}-{CASES[case_id]['loss_key']}"


def dense(rows):
    width = max(len(row) for row in rows)
    padding = np.full_like(rows[0][0], -1.0, dtype="float32") if width else None
    return np.array([[*row, *[padding] * (width - len(row))] for row in rows], "float32")


def inputs(case):
    """Labels, scores, weights and parameters, under TF-Ranking's names."""
    labels, scores = dense(case["y_true"]), dense(case["y_pred"])
    weight = case.get("sample_weight")
    if weight is not None:
        weight = dense(weight) if isinstance(weight[0], list) else np.array(weight, "float32")
        if case["id"] in BROADCAST:
            weight = np.broadcast_to(weight, scores.shape)
    params = {name: value for name, value in case["params"].items() if name != "ragged"}
    params = {name: FUNCTIONS.get(value, value) if isinstance(value, str) else value for name, value in params.items()}
    return labels, scores, weight, params


def agrees(case, got):
    """True if the result equals TF-Ranking's to 1e-5, or to the tolerance of the case."""
    expected = np.array(case["expected"])
    tolerance = np.maximum(1e-5 * np.maximum(1.0, np.abs(expected)), case["tol"])
    return got.shape == expected.shape and bool((np.abs(got - expected) <= tolerance).all())
