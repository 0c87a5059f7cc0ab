"""Explains why a model ranks one document of a request above another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, NotRequired

import numpy as np
from pydantic import Field

from ml4ir_losses.core.names import MASK
from ml4ir_losses.evaluation.explanation import Explanation
from ml4ir_losses.experiments.explaining import explain_inputs
from ml4ir_losses.model.cross_encoder import CrossEncoderModel
from ml4ir_losses.serving.answers import ExplainAnswer
from ml4ir_losses.serving.columns import query_members, typed
from ml4ir_losses.serving.operation import Operation, Pending
from ml4ir_losses.serving.ranking import Ranking
from ml4ir_losses.serving.reading import Reader
from ml4ir_losses.serving.settings import Limits

_BUDGET, _BUDGET_OF_TEXTS = 20_000, 500  # documents scored for an explanation: other requests wait meanwhile
_COMPARED = 10  # documents


class Explaining:
    """The operation `explain` of a model of features.

    Args:
        ranking: the operation `rank` of the same model.
        limits: what is refused.
    """

    def __init__(self, ranking: Ranking, limits: Limits) -> None:
        self.ranking = ranking
        self.budget = _BUDGET_OF_TEXTS if isinstance(ranking.model, CrossEncoderModel) else _BUDGET
        place = Annotated[int, Field(ge=0, lt=limits.documents)]
        compare = NotRequired[Annotated[list[place], Field(min_length=2, max_length=_COMPARED)]]
        request = typed("ExplainRequest", {**query_members(ranking.columns, limits, least=2), "compare": compare})
        self.read = Reader({"documents": request}, self._members, ranking.hint, limits.depth)
        example = ranking.operation.example["queries"][0]
        summary = "What each feature adds to the logits of some documents, compared with the last of them."
        self.operation = Operation(self.explain, (request,), ExplainAnswer, example, summary)

    def explain(self, body: bytes) -> Pending:
        """Begins the answer to a request.

        Raises:
            UserError: for a request that cannot be answered.
        """
        request = self.read(body)
        (encoded,) = self.ranking.encode([request])
        of_query = self.ranking.encode.of_query
        x = {name: values if name in of_query else values[None] for name, values in encoded.arrays.items()}
        x[MASK] = np.ones((1, encoded.size), "float32")
        places = [str(index) for index in range(encoded.size)]
        job = partial(explain_inputs, self.ranking.model, x, request.get("compare"), ids=places, budget=self.budget)
        return Pending(
            [self.ranking.batcher.submit(job, encoded.size, alone=True)],
            lambda results: self._answer(request, results[0]),
            queries=1,
            documents=encoded.size,
        )

    def _answer(self, request: Mapping[str, Any], explanation: Explanation) -> dict[str, Any]:
        documents = []
        for row in explanation.as_json()["documents"]:
            index = int(row["document"])
            parts = zip(explanation.features, row["contributions"], row["errors"], strict=True)
            added = [{"feature": name, "contribution": value, "error": error} for name, value, error in parts]
            added.sort(key=lambda one: -abs(one["contribution"]))
            found = {"id": request["documents"][index].get("id"), "index": index, "rank": row["rank"]}
            documents.append({**found, "logit": row["logit"], "contributions": added})
        answer = {"query_id": request.get("query_id"), "method": explanation.method, "documents": documents}
        return {**self.ranking.served, **answer}

    @staticmethod
    def _members(request: Mapping[str, Any]) -> int:
        shared: Sequence[Any] = request.get("query", ())
        return len(request) + len(shared) + sum(map(len, request["documents"]))
