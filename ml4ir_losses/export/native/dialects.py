"""Curves written in the expression languages of search engines."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.export.native.piecewise import Curve, End, Piecewise

MOST_INTERVALS = 1_000
"""Engines compile expressions; longer ones exceed their limits."""


class Dialect:
    """How an engine writes the parts of a curve, by default with the operators of C.

    x is an expression without spaces outside brackets.

    Attributes:
        log: the name of the natural logarithm.
    """

    log = "ln"

    def line(self, x: str, anchor: float, value: float, slope: float) -> str:
        """value + slope · (x - anchor), for a slope other than 0."""
        sign, at = ("-" if slope < 0 else "+"), ("+" if anchor < 0 else "-")
        return f"{value:.12g} {sign} {abs(slope):.12g} * ({x} {at} {abs(anchor)!r})"

    def is_below(self, x: str, end: End) -> str:
        """The condition that x is below the end."""
        return f"{x} {'<=' if end[1] else '<'} {end[0]!r}"

    def choose(self, condition: str, then: str, otherwise: str) -> str:
        """The first expression where the condition holds, else the other one."""
        raise NotImplementedError

    def function(self, key: str, x: str) -> str:
        """The function `key` of `piecewise.FUNCTIONS`."""
        formulas = {
            "log1p": self.choose(f"{x} < 0.0", f"0.0 - {self.log}(1.0 - {x})", f"{self.log}(1.0 + {x})"),
            "arctan": f"atan({x})",
            "reciprocal": self.choose(f"{x} == 0.0", "0.0", f"1.0 / {x}"),
        }
        return formulas[key]

    def curve(self, curve: Curve, x: str, define: Callable[[str], str]) -> str:
        """A curve with one value; `define` gives an expression that is used several times a name."""
        for function, key in curve.inner:
            x = define(self.function(key, define(self.piecewise(function, x))))
        return self.piecewise(curve.last, x)

    def piecewise(self, function: Piecewise, x: str) -> str:
        """A piecewise linear function with one value, as a balanced tree of comparisons."""
        if len(function.offset) > MOST_INTERVALS:
            raise UserError(
                f"{x}: its function has {len(function.offset)} pieces; search engines take {MOST_INTERVALS}. "
                "Use fewer quantiles, buckets or hidden units."
            )
        return self._between(function, x, 0, len(function.offset))

    def _between(self, function: Piecewise, x: str, first: int, last: int) -> str:
        """The intervals from `first` to before `last`."""
        if last - first > 1:
            middle = (first + last) // 2
            parts = self._between(function, x, first, middle), self._between(function, x, middle, last)
            return self.choose(self.is_below(x, function.ends[middle - 1]), *parts)
        offset, slope = float(function.offset[first, 0]), float(function.slope[first, 0])
        if slope == 0:
            return f"{offset:.12g}"
        if (offset, slope) == (0.0, 1.0):
            return x
        # From a place near the numbers of the interval that float32 can hold: Solr computes in float32.
        anchor = function.ends[max(first - 1, 0)][0] if function.ends else -offset / slope
        anchor = float(np.float32(anchor))
        return self.line(x, anchor, offset + slope * anchor, slope)


class Lucene(Dialect):
    """Expressions of Lucene, a subset of JavaScript."""

    def choose(self, condition: str, then: str, otherwise: str) -> str:
        return f"({condition} ? {then} : {otherwise})"


class Vespa(Dialect):
    """Ranking expressions of Vespa."""

    log = "log"

    def choose(self, condition: str, then: str, otherwise: str) -> str:
        return f"if ({condition}, {then}, {otherwise})"


class Solr(Dialect):
    """Function queries of Solr, which has functions in the place of operators."""

    def line(self, x: str, anchor: float, value: float, slope: float) -> str:
        return f"sum({value:.12g},product({slope:.12g},sub({x},{anchor!r})))"

    def is_below(self, x: str, end: End) -> str:
        return f"{'lte' if end[1] else 'lt'}({x},{end[0]!r})"

    def choose(self, condition: str, then: str, otherwise: str) -> str:
        return f"if({condition},{then},{otherwise})"

    def function(self, key: str, x: str) -> str:
        formulas = {
            "log1p": f"if(lt({x},0.0),sub(0.0,ln(sub(1.0,{x}))),ln(sum(1.0,{x})))",
            "arctan": f"atan({x})",
            "reciprocal": f"if(or(lt({x},0.0),gt({x},0.0)),div(1.0,{x}),0.0)",
        }
        return formulas[key]
