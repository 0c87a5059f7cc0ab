"""Which cases of a test run, on two axes: how many losses, and on which backend.

Axis 1, `quick`: a test over losses names the coarsest set that still shows what it shows.

    "variant"   every loss, with every set of parameters in its row
    "key"       every loss, with the first set
    "family"    the first loss of every family (a file in `losses/families`)
    "layout"    the first loss of every kind of input (lists, classes, embeddings, ...)

Axis 2, the backend: TensorFlow runs all of that set. The others run the same formulas, and at most "key" (PyTorch) or
"family" (JAX, which compiles every loss for every shape); `elsewhere` names another limit for both.

What lies outside the set is marked `slow`: `make test-slow` runs it.
"""

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from losses.cases import CASES, FAMILIES, KEYS
from losses.families.common import Case
from losses.numeric import BACKEND

SETS = ("layout", "family", "key", "variant")  # from the coarsest on
LIMIT = {"tensorflow": "variant", "torch": "key", "jax": "family"}[BACKEND]
Where = Callable[[Case], bool]


def each_loss(where: Where = lambda case: True, quick: str = "key", elsewhere: str = LIMIT) -> Any:
    """Parametrizes `key` over the losses whose case fits."""
    few = _chosen(quick, elsewhere)
    chosen = _representatives(where, few)
    return pytest.mark.parametrize("key", slow_except(_fitting(where), *chosen))


def each_variant(where: Where = lambda case: True, quick: str = "variant", elsewhere: str = LIMIT) -> Any:
    """Parametrizes `key` and `params` over the losses whose case fits and the parameters in their rows."""
    few = _chosen(quick, elsewhere)
    chosen = _representatives(where, few)
    rows = [
        pytest.param(
            key,
            params,
            id=_variant_id(key, params),
            marks=() if key in chosen and (number == 0 or few == "variant") else pytest.mark.slow,
        )
        for key in _fitting(where)
        for number, params in enumerate(CASES[key].variants if key in CASES else ({},))
    ]
    return pytest.mark.parametrize(("key", "params"), rows)


def slow_except(values: Iterable[Any], *quick: Any) -> list[Any]:
    """The values of a parametrization, all but the quick ones marked `slow`."""
    values = list(values)
    assert all(value in values for value in quick)
    return [value if value in quick else pytest.param(value, marks=pytest.mark.slow) for value in values]


def few_on_jax(values: Iterable[Any], *few: Any) -> list[Any]:
    """The values of a parametrization; JAX, which compiles a test for each of them, runs only a few."""
    values = list(values)
    return slow_except(values, *few) if BACKEND == "jax" else values


def _chosen(quick: str, elsewhere: str) -> str:
    """The set that the active backend runs."""
    return quick if BACKEND == "tensorflow" else min(quick, elsewhere, key=SETS.index)


def _fitting(where: Where) -> list[str]:
    """The keys whose case fits; a key without a case comes along, so that its test fails and says so."""
    return [key for key in KEYS if key not in CASES or where(CASES[key])]


def _representatives(where: Where, few: str) -> set[str]:
    """The fitting keys that stand for all in a set."""
    keys = _fitting(where)
    if few in ("key", "variant"):
        return set(keys)
    first: dict[Any, str] = {}
    for family in FAMILIES:
        for key in family.CASES:
            case = CASES[key]
            if key in keys:
                first.setdefault(family if few == "family" else (case.layout, case.random), key)
    return {*first.values(), *(set(keys) - set(CASES))}


def _variant_id(key: str, params: dict[str, Any]) -> str:
    """The same in every process: functions are written as their names."""
    return "-".join([key, *(str(getattr(value, "__name__", value)) for value in params.values())])
