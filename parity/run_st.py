"""sentence-transformers' values and gradients; run by the Python of its environment."""

from __future__ import annotations

import inspect
import sys
from typing import Any

import numpy as np
import torch
from sentence_transformers.cross_encoder import CrossEncoder, losses
from torch import nn

import st_sparse
from batches import batches, taken
from cases import CASES, Case
from embeddings import EmbeddingCase
from st_embeddings import value_of as value_of_embeddings


class Scores(CrossEncoder):  # type: ignore[misc]
    """A model whose score of the pair (row, column) is a number of a table."""

    num_labels = 1
    device = torch.device("cpu")

    def __init__(self, table: torch.Tensor) -> None:
        nn.Module.__init__(self)
        self.table = table

    def preprocess(self, pairs: list[tuple[str, str]], **_: Any) -> dict[str, torch.Tensor]:
        return {"places": torch.tensor([[int(a), int(b)] for a, b in pairs]).reshape(-1, 2)}

    def forward(self, tokens: dict[str, torch.Tensor], **_: Any) -> dict[str, torch.Tensor]:
        rows, columns = tokens["places"].T
        scores = self.table[rows, columns]
        return {"scores": scores if scores.ndim == 2 else scores[:, None]}


def _module(of: Any) -> Any:
    return inspect.getmodule(of)


def make(case: Case, model: Scores) -> Any:
    params = dict(case.params)
    if "weighting_scheme" in params:
        params["weighting_scheme"] = getattr(_module(losses.LambdaLoss), params["weighting_scheme"])()
    if params.pop("discount", None):
        params["lambda_weight"] = _module(losses.PListMLELoss).PListMLELambdaWeight(
            lambda mask: mask / torch.log2(1.0 + mask.cumsum(1).clamp(min=1))
        )
    for name in ("pos_weight", "weight"):
        if name in params:
            params[name] = torch.tensor(params[name])
    return getattr(losses, case.name)(model, **params)


def value_of(case: Case, y_true: np.ndarray, table: torch.Tensor) -> torch.Tensor:
    """The loss, with the shapes of y_true and y_pred turned into columns of texts."""
    if case.inputs in ("sparse", "parts"):
        return st_sparse.value_of(case.name, case.params, table, torch.tensor(y_true))
    size = len(table)
    rows = [str(b) for b in range(size)]
    if case.inputs in ("pairs", "filled"):
        places = [np.flatnonzero(row >= 0) for row in y_true]
        documents = [[str(j) for j in row] for row in places]
        labels = [torch.tensor(row[place]) for row, place in zip(y_true, places, strict=True)]
        return make(case, Scores(table))([rows, documents], labels)
    if case.inputs == "rows":
        return make(case, Scores(table[:, None]))([rows, ["0"] * size], torch.tensor(y_true))
    if case.inputs == "classes":
        model = Scores(table[:, None, :])
        return make(case, model)([rows, ["0"] * size], torch.tensor(y_true))
    if case.inputs == "columns":
        columns = [[str(j)] * size for j in range(table.shape[1])]
        return make(case, Scores(table))([rows, *columns], torch.tensor(y_true))
    columns = [[str(c * size + j) for j in range(size)] for c in range(table.shape[1] // size)]
    return make(case, Scores(table))([rows, *columns], torch.zeros(size))


def main(count: int, seed: int, path: str) -> None:
    results = {}
    for i, batch in enumerate(batches(count, seed)):
        for case in CASES["st"]:
            inputs = taken(case, batch)
            if inputs is None:
                continue
            table = torch.tensor(inputs["y_pred"], requires_grad=True)
            if isinstance(case, EmbeddingCase):
                value = value_of_embeddings(case, torch.tensor(inputs["y_true"]), table)
            else:
                value = value_of(case, inputs["y_true"], table)
            value.backward()
            results[f"{case.id}|{i}|value"] = value.detach().numpy()
            results[f"{case.id}|{i}|gradient"] = np.zeros(1) if table.grad is None else table.grad.numpy()
    np.savez(path, **results)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
