"""Recomputes sentence-transformers' golden numbers over lists, rows and classes with the installed version.

    .venv-parity-st/bin/python parity/golden_st.py tests/golden/st_losses.json

Values and gradients of the cases of `NAMES` and `ROWS` are replaced; inputs and parameters stay. Cases with
`top_k_pairs`, or of a "fixed" variant, are not sentence-transformers' own and stay as they are.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import torch
from sentence_transformers.cross_encoder import losses

from run_st import Scores, _module

NAMES = ("LambdaLoss", "RankNetLoss", "ListMLELoss", "PListMLELoss", "ListNetLoss")
ROWS = ("BinaryCrossEntropyLoss", "CrossEntropyLoss", "MSELoss")
ACTIVATIONS = {"sigmoid": torch.nn.Sigmoid(), "tanh": torch.nn.Tanh(), "gelu": torch.nn.GELU(), "silu": torch.nn.SiLU()}


def log2_discount(mask: torch.Tensor) -> torch.Tensor:
    """1 / log2(1 + r) from the mask of the documents."""
    return mask / torch.log2(1.0 + mask.cumsum(1).clamp(min=1))


def docstring_discount(mask: torch.Tensor) -> torch.Tensor:
    """The example of PListMLELoss's docstring, which gets the mask too."""
    return 1.0 / torch.log1p(mask)


def make(case: dict[str, Any], model: Scores) -> Any:
    params = dict(case["params"])
    if params.get("weighting_scheme"):
        name, mu = params["weighting_scheme"].partition("(")[0], params.pop("mu", None)
        scheme = getattr(_module(losses.LambdaLoss), name)
        params["weighting_scheme"] = scheme() if mu is None else scheme(mu=mu)
    if params.get("lambda_weight"):
        discount = log2_discount if "log2" in params["lambda_weight"] else docstring_discount
        params["lambda_weight"] = _module(losses.PListMLELoss).PListMLELambdaWeight(discount)
    if params.get("activation_fn"):
        params["activation_fn"] = ACTIVATIONS[params["activation_fn"]]
    for name in ("weight", "pos_weight"):
        if name in params:
            params[name] = torch.tensor(params[name])
    return getattr(losses, case["loss"].partition(".")[2])(model, **params)


def recompute_rows(case: dict[str, Any]) -> None:
    """Puts the value and gradient of a loss of rows into the case."""
    scores, labels = torch.tensor(case["inputs"]["logits"]), torch.tensor(case["inputs"]["labels"])
    scores.requires_grad_(True)
    rows = [str(b) for b in range(len(scores))]
    value = make(case, Scores(scores[:, None]))([rows, ["0"] * len(rows)], labels)
    case["expected_loss"] = plain(value.item()) if value.ndim == 0 else [plain(x) for x in value.tolist()]
    slopes = torch.autograd.grad(value.sum(), scores)[0].tolist()
    case["expected_grad"] = {
        "logits": [[plain(x) for x in row] if isinstance(row, list) else plain(row) for row in slopes]
    }


def recompute(case: dict[str, Any]) -> None:
    """Puts the value and gradient of a loss of lists into the case."""
    logits, labels = case["inputs"]["logits"], case["inputs"]["labels"]
    table = torch.zeros(len(logits), max(map(len, logits)))
    for row, values in enumerate(logits):
        table[row, : len(values)] = torch.tensor(values)
    table.requires_grad_(True)
    documents = [[str(j) for j in range(len(row))] for row in logits]
    value = make(case, Scores(table))(
        [[str(b) for b in range(len(logits))], documents], [torch.tensor(row) for row in labels]
    )
    slopes = torch.autograd.grad(value, table, allow_unused=True)[0] if value.requires_grad else None
    slopes = torch.zeros_like(table) if slopes is None else slopes
    case["expected_loss"] = plain(value.item())
    case["expected_grad"] = {
        "logits": [[plain(x) for x in slopes[b, : len(row)].tolist()] for b, row in enumerate(logits)]
    }


def plain(x: float) -> float | str:
    """The number with the digits of float32; the name of one that JSON does not have."""
    return float(f"{x:.9g}") if math.isfinite(x) else "NaN" if math.isnan(x) else f"{'-' if x < 0 else ''}Infinity"


def main(path: str) -> None:
    cases = json.loads(Path(path).read_text())
    for case in cases:
        own = case["variant"] == "as_shipped" and "top_k_pairs" not in case["params"]
        name = case["loss"].partition(".")[2]
        if own and name in NAMES:
            recompute(case)
        elif own and name in ROWS:
            recompute_rows(case)
    lines = ",\n".join(json.dumps(case) for case in cases)
    Path(path).write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
