"""sentence-transformers' losses over a model that only hands out scores or embeddings."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import sentence_transformers.losses
import torch
from sentence_transformers.cross_encoder import CrossEncoder, losses
from torch import nn

from cases import Case, arrays
from peers import torch_steps

MODES = ("eager",)
BY_ROW = ("BinaryCrossEntropyLoss", "MSELoss")


def versions() -> str:
    return f"sentence-transformers {sentence_transformers.__version__} on torch {torch.__version__}"


class Scores(CrossEncoder):  # type: ignore[misc]
    """A model whose scores are given: nothing of a text encoder is timed."""

    num_labels = 1
    device = torch.device("cpu")

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.scores = torch.empty(0)

    def preprocess(self, pairs: list[tuple[str, str]], **_: Any) -> dict[str, torch.Tensor]:
        return {}

    def forward(self, tokens: dict[str, torch.Tensor], **_: Any) -> dict[str, torch.Tensor]:
        return {"scores": self.scores}


def step(case: Case, shape: str, mode: str, warm_up: bool = False) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
    name, params = case.specs["st"]
    given = arrays(case, shape, warm_up)
    if case.kind == "embeddings":
        loss = getattr(sentence_transformers.losses, name)(None)
        return torch_steps.step(lambda x: loss.compute_loss_from_embeddings([x[:, 0], x[:, 1]], None), given.scores)
    params, model = dict(params), Scores()
    if "weighting_scheme" in params:
        params["weighting_scheme"] = getattr(inspect.getmodule(losses.LambdaLoss), params["weighting_scheme"])()
    texts: list[Any] = [["document"] * n for n in given.mask.sum(axis=1)]
    labels: Any = [torch.tensor(row[kept]) for row, kept in zip(given.labels, given.mask, strict=True)]
    if name in BY_ROW:
        texts, labels = [text for row in texts for text in row], torch.cat(labels)
    else:
        params["mini_batch_size"] = -1  # all scores at once
    queries = ["query"] * len(texts)
    loss = getattr(losses, name)(model, **params)

    def value(scores: torch.Tensor) -> torch.Tensor:
        model.scores = scores
        return loss([queries, texts], labels)

    return torch_steps.step(value, given.scores[given.mask])
