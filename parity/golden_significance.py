"""Writes golden p values (`pip install ranx statsmodels`, 0.3.21 and 0.15): ranx' tests, Holm as in statsmodels.

python parity/golden_significance.py tests/golden/significance.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from ranx.statistical_tests import fisher_randomization_test, paired_student_t_test
from statsmodels.stats.multitest import multipletests

PERMUTATIONS = 1_000_000  # the standard error of ranx' p values is at most 0.0005
CASES = ((10, 0.02), (12, 0.1), (40, 0.0), (40, 0.03), (40, 0.06))  # queries, difference
FAMILIES = ([0.01], [0.02, 0.02], [0.04, 0.001, 0.03, 0.5], [0.9, 0.8, 0.0, 1.0, 0.011, 0.0125])


def main(path: str) -> None:
    rng = np.random.default_rng(3)
    tests = []
    for queries, gap in CASES:
        first = rng.beta(2, 2, queries).round(4)
        second = np.clip(first - gap + 0.1 * rng.standard_normal(queries), 0, 1).round(4)
        fisher, _ = fisher_randomization_test(first, second, PERMUTATIONS)
        student, _ = paired_student_t_test(first, second)
        values = {"first": first.tolist(), "second": second.tolist()}
        tests.append({**values, "fisher": float(fisher), "student": float(student)})
    holm = [{"p": p, "corrected": multipletests(p, method="holm")[1].tolist()} for p in FAMILIES]
    Path(path).write_text(json.dumps({"tests": tests, "holm": holm}) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
