"""Writes tests/golden/st_6_losses.json, values and gradients of the losses that are new in sentence-transformers 6.

cd parity && ../.venv-parity-st/bin/python golden.py
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import sentence_transformers
import torch

from embeddings import NEW, random_batch
from st_embeddings import value_of

PATH = Path(__file__).parents[1] / "tests" / "golden" / "st_6_losses.json"


def main() -> None:
    batch, cases = random_batch(np.random.default_rng(6), 4), []
    inputs = {name: [float(f"{number:.6g}") for number in array.ravel()] for name, array in batch.items()}
    for case in NEW:
        taken = {name: torch.tensor(array, dtype=torch.float64) for name, array in case.taken(batch).items()}
        y_pred = taken["y_pred"].requires_grad_()
        value = value_of(case, taken["y_true"], y_pred)
        value.backward()
        cases.append(
            {
                "id": f"st6.{case.id.replace(' ', '')}",
                "loss": f"st6.{case.name}",
                "params": case.params,
                "columns": case.columns,
                "labels": case.labels,
                "value": value.item(),
                "gradient": [float(f"{number:.7g}") for number in y_pred.grad.flatten().tolist()],
            }
        )
    shapes = {name: list(array.shape) for name, array in batch.items()}
    head = {"version": sentence_transformers.__version__, "shapes": shapes, "inputs": inputs}
    lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in head.items()]
    lines.append('"cases": [\n' + ",\n".join(json.dumps(case) for case in cases) + "\n]")
    PATH.write_text("{" + ",\n".join(lines) + "}\n")


if __name__ == "__main__":
    main()
