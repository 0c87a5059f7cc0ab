"""Transforms that compare the documents of a query."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ml4ir_losses.core.registry import register_transform
from ml4ir_losses.features.transforms import Transform


class WithinQuery(Transform):
    """A transform by a function of `features.within_query`, which needs no fitting."""

    needs = "nothing"
    within_query = True
    function: ClassVar[str]

    @classmethod
    def apply(cls, x: Any, fitted: Mapping[str, Any], ops: Any, valid: Any = None) -> Any:
        from ml4ir_losses.features import within_query  # imports Keras, which the check of a config does not need

        return getattr(within_query, cls.function)(x, valid)


@register_transform("query_z_score", aliases=("z_score",))
class QueryZScore(WithinQuery):
    """(x - mean) / standard deviation of the documents of the query; 0 if they are all equal."""

    function = "query_z_score"


@register_transform("query_min_max", aliases=("min_max",))
class QueryMinMax(WithinQuery):
    """(x - min) / (max - min) of the documents of the query, 0 to 1; 0 if they are all equal."""

    function = "query_min_max"


@register_transform("query_rank", aliases=("rank",))
class QueryRank(WithinQuery):
    """The rank of x among the documents of the query: -1/2 is lowest, 1/2 is highest; equal values share a rank."""

    function = "query_rank"
