"""Golden values of sentence-transformers' cross-encoder losses with in-batch negatives.

    .venv-parity-st/bin/python parity/golden_in_batch.py > tests/golden/st_in_batch.json

Each case holds the logits [B, B·C] of every anchor with every candidate (columns one after another), the candidates
that the loss drew, and its value and gradient.
"""

from __future__ import annotations

import json

import numpy as np
import sentence_transformers
import torch
from sentence_transformers.cross_encoder import losses

from run_st import Scores

CASES = [
    ("MultipleNegativesRankingLoss", 1, {}),
    ("MultipleNegativesRankingLoss", 2, {"num_negatives": 3}),
    ("MultipleNegativesRankingLoss", 3, {"num_negatives": 2, "scale": 4.0}),
    ("MultipleNegativesRankingLoss", 1, {"num_negatives": None}),
    ("MultipleNegativesRankingLoss", 2, {"num_negatives": None, "activation_fn": None, "scale": 1.5}),
    ("CachedMultipleNegativesRankingLoss", 1, {"mini_batch_size": 4}),
    ("CachedMultipleNegativesRankingLoss", 2, {"num_negatives": 3, "mini_batch_size": 5}),
]
ROWS = 6


def main() -> None:
    cases = []
    for seed, (name, columns, params) in enumerate(CASES):
        logits = np.random.default_rng(seed).normal(0, 1.5, (ROWS, ROWS * columns)).round(3)
        table = torch.tensor(logits, requires_grad=True)
        loss = getattr(losses, name)(Scores(table), **params)
        torch.manual_seed(seed)
        anchors = [str(row) for row in range(ROWS)]
        candidates = [[str(c * ROWS + row) for row in range(ROWS)] for c in range(columns)]
        drawn = list(loss.get_in_batch_negatives(anchors, candidates))
        loss.get_in_batch_negatives = lambda *_, drawn=drawn: drawn
        value = loss([anchors, *candidates], None)
        value.backward()
        cases.append(
            {
                "id": f"{name}/{columns}-{'-'.join(f'{k}={v}' for k, v in params.items()) or 'default'}",
                "version": sentence_transformers.__version__,
                "loss": name,
                "params": params,
                "logits": logits.tolist(),
                "drawn": np.array(drawn, int).T.tolist(),
                "value": value.item(),
                "gradient": table.grad.numpy().round(9).tolist(),
            }
        )
    print("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]")


if __name__ == "__main__":
    main()
