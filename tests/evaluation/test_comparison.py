"""Comparisons: ranks, differences, the verdict, files and messages."""

import csv
import io
import json
import re

import numpy as np
import pytest
from scipy import stats

from ml4ir_losses.core.errors import DataError, UserError
from ml4ir_losses.evaluation.comparison import Comparison, Row

QUERIES, SEEDS = 60, 5


def values(mean, seeds=SEEDS, spread=0.05, seed=0):
    """Values [S, Q] around a mean: the same queries for every row, noise of its own."""
    queries = np.random.default_rng(0).normal(0, 0.2, QUERIES)
    noise = np.random.default_rng(seed).normal(0, spread, (seeds, QUERIES))
    return mean + queries - queries.mean() + noise - noise.mean()


def row(name, mean, **fields):
    return Row(name, spec={name: {"k": 10}}, values=values(mean, seed=sum(map(ord, name))), **fields)


def compare(*rows, **options):
    settings = {"metric": "ndcg_10", "higher_is_better": True, "ids": range(QUERIES), "seeds": range(SEEDS)}
    return Comparison.of(rows, **{**settings, **options})


def failed(name):
    return Row(name, error="labels are grades, not classes")


def test_rows_are_ranked_and_failed_ones_are_last():
    result = compare(row("a", 0.4), failed("x"), row("b", 0.6), row("c", 0.5))
    assert [r.name for r in result.rows] == ["b", "c", "a", "x"]
    assert [r.mean for r in result.rows[:3]] == pytest.approx([0.6, 0.5, 0.4])
    assert result.best == "b"
    assert result.rows[3].error == "labels are grades, not classes"
    assert result.rows[3].mean is result.rows[3].interval is result.rows[3].to_best is None


def test_lower_is_better_turns_the_ranks_only():
    result = compare(row("a", 4.0), row("b", 6.0), metric="arp", higher_is_better=False, own="b")
    assert result.best == "a"
    assert result.rows[1].to_best.difference == pytest.approx(2.0)
    assert result.verdict.startswith("a is better than the config's b by 2.0")


def test_differences_are_paired_and_corrected():
    rows = [row("own", 0.5), row("near", 0.505), row("best", 0.52)]
    result = compare(*rows, own="own")
    by_name = {r.name: r for r in result.rows}
    assert by_name["best"].to_best is None
    assert by_name["own"].to_own is None
    assert by_name["near"].to_own.difference == pytest.approx(0.005)
    assert by_name["near"].to_best.difference == pytest.approx(-0.015)
    assert by_name["own"].to_best.p == by_name["best"].to_own.p
    assert by_name["own"].to_best.p_holm == by_name["best"].to_own.p_holm
    unpaired = stats.ttest_ind(rows[0].values.mean(axis=0), rows[2].values.mean(axis=0)).pvalue
    assert by_name["best"].to_own.p_holm < 0.05 < unpaired
    for r in result.rows:
        for difference in filter(None, (r.to_best, r.to_own)):
            assert difference.p <= difference.p_holm
            assert difference.interval[0] < difference.difference < difference.interval[1]


def test_spreads_between_seeds_and_queries_are_apart():
    shaken = values(0.5) + np.array([[-0.04], [0.04], [0.0], [0.05], [-0.05]])
    result = compare(Row("calm", values=values(0.5)), Row("shaken", values=shaken), Row("once", values=values(0.4, 1)))
    by_name = {r.name: r for r in result.rows}
    assert by_name["calm"].seed_spread < 0.01 < 0.03 < by_name["shaken"].seed_spread
    assert by_name["shaken"].query_spread == pytest.approx(by_name["calm"].query_spread, rel=0.05)
    assert by_name["once"].seed_spread is None


def test_row_without_seeds_is_compared_with_every_seed():
    once = compare(row("a", 0.5), Row("lightgbm", kind="library", values=values(0.6, 1)))
    repeated = compare(row("a", 0.5), Row("lightgbm", kind="library", values=np.repeat(values(0.6, 1), SEEDS, 0)))
    assert once.rows[1].to_best == repeated.rows[1].to_best
    assert once.notes == ["One run: how much another run would change is not known of lightgbm."]


def test_intervals_of_means_stay_within_the_range_of_the_values():
    values = np.array([[1.0, 1.0, 1.0, 1.0, 0.4], [1.0, 1.0, 0.6, 1.0, 1.0]])
    compared = Comparison.of(
        [Row("good", values=values), Row("poor", values=values - 0.4)],
        metric="ndcg_10", higher_is_better=True, ids=list("abcde"), seeds=[1, 2],
    )  # fmt: skip
    assert [row.interval[1] for row in compared.rows] == pytest.approx([1.0, 0.6])


def test_queries_that_do_not_count_in_one_row_are_left_out_of_all():
    first, second = values(0.5), values(0.4)
    whole = compare(Row("a", values=first[:, 2:]), Row("b", values=second[:, 2:]), ids=range(QUERIES - 2))
    first[0, 0], second[:, 1] = np.nan, np.nan
    result = compare(Row("a", values=first), Row("b", values=second))
    assert result.queries == QUERIES - 2
    assert result.rows == whole.rows
    assert result.notes == ["Left out: 2 queries without a value in some row."]


def test_one_seed_is_noted():
    result = compare(*(Row(n, values=values(m, 1)) for n, m in (("a", 0.5), ("b", 0.6))), seeds=[0])
    assert result.notes == ["One seed: intervals and p values do not know how much another seed would change."]


def test_detectable_difference_shrinks_with_queries_and_grows_with_rows():
    pair = compare(row("a", 0.5), row("b", 0.5))
    many = compare(*(row(name, 0.5) for name in "abcdefgh"))
    few = [Row(name, values=row(name, 0.5).values[:, :20]) for name in "ab"]
    assert pair.detectable < many.detectable
    assert pair.detectable < compare(*few, ids=range(20)).detectable


def test_too_few_queries_for_any_difference_are_noted():
    rows = [Row(name, values=values(mean)[:, :6]) for name, mean in (("a", 0.1), ("b", 0.9), ("c", 0.5))]
    pair, three = compare(*rows[:2], ids=range(6)), compare(*rows, ids=range(6))
    assert pair.notes == []
    assert not pair.rows[1].tied_with_best  # better on each of six queries: p is 2/64
    assert three.notes == ["No difference between 3 rows can be significant on 6 queries."]
    assert three.detectable is None
    assert three.verdict == "These three cannot be told apart on 6 queries: b, c and a."


VERDICTS = {
    "own is worse": (
        [("list_mle", 0.5), ("lambda_loss", 0.55)],
        "list_mle",
        r"lambda_loss is better than the config's list_mle by 0\.0500 \(0\.0\d+ to 0\.0\d+\)\.",
    ),
    "own is worse, others are as good as the best": (
        [("own", 0.5), ("a", 0.6), ("b", 0.6001), ("c", 0.5999)],
        "own",
        r"b is better than the config's own by 0\.10.*\. a and c cannot be told apart from b on 60 queries\.",
    ),
    "own is the best": (
        [("own", 0.6), ("a", 0.5), ("b", 0.4)],
        "own",
        r"The config's own is better than all others; the nearest is a, by 0\.1000 \(.*\)\.",
    ),
    "own is the best, with another": (
        [("own", 0.6001), ("a", 0.6), ("b", 0.4)],
        "own",
        r"The config's own has the best ndcg_10, 0\.6001; a cannot be told apart from it on 60 queries\.",
    ),
    "own is as good as the best": (
        [("own", 0.6), ("a", 0.6001), ("b", 0.4)],
        "own",
        r"Nothing is shown to be better than the config's own on 60 queries: a has the best ndcg_10, ahead by 0\.000.*",
    ),
    "no own": (
        [("a", 0.6), ("b", 0.5)],
        None,
        r"a is better than all others; the nearest is b, by 0\.1000 \(.*\)\.",
    ),
    "no own, two at the top": (
        [("a", 0.6), ("b", 0.5999), ("c", 0.4)],
        None,
        r"a has the best ndcg_10, 0\.6000; b cannot be told apart from it on 60 queries\.",
    ),
    "all alike": (
        [(name, 0.5 - n / 1e4) for n, name in enumerate("abcde")],
        "c",
        r"These five cannot be told apart on 60 queries: a, b, c, d and e\.",
    ),
    "two alike": ([("a", 0.5), ("b", 0.4999)], None, r"a and b cannot be told apart on 60 queries\."),
}


@pytest.mark.parametrize("case", VERDICTS)
def test_verdict(case):
    means, own, expected = VERDICTS[case]
    result = compare(*(row(name, mean) for name, mean in means), own=own)
    assert re.fullmatch(expected, result.verdict), result.verdict


def test_verdict_of_many_rows_names_the_first():
    result = compare(*(row(f"loss_{n}", 0.5) for n in range(12)))
    assert result.verdict.startswith("These 12 cannot be told apart on 60 queries: ")
    assert result.verdict.endswith(" and 4 more.")


def test_verdict_names_the_best_loss_where_a_library_wins():
    result = compare(row("own", 0.5), row("softmax", 0.55), row("lightgbm", 0.7, kind="library"), own="own")
    assert result.verdict.startswith("lightgbm is better than the config's own by 0.2000 (")
    assert result.verdict.endswith(" lightgbm is a library; the best loss is softmax, 0.5500.")
    result = compare(row("own", 0.5), row("best feature", 0.7, kind="baseline"), own="own")
    assert result.verdict.endswith(" best feature is a baseline without training; the best loss is own, 0.5000.")


def test_verdict_tells_who_failed():
    result = compare(row("a", 0.5), row("b", 0.7), failed("own"), failed("c"), own="own")
    assert result.verdict.endswith(" Failed: the config's own, c.")
    only = compare(row("a", 0.5), failed("b"))
    assert only.verdict == "Only a finished, with ndcg_10 0.5000: there is nothing to compare it with. Failed: b."
    assert only.detectable is None


def test_verdict_where_the_best_row_is_too_unsteady():
    steady, queries = values(0.5), values(0.56)
    wild = values(0.6) + np.array([[-0.4], [0.4], [0.1], [0.3], [-0.4]])
    result = compare(Row("own", values=steady), Row("good", values=queries), Row("wild", values=wild), own="own")
    assert result.rows[0].name == "wild"
    assert result.verdict.startswith("good is better than the config's own by 0.0600 (")
    assert "wild has the best ndcg_10, ahead by " in result.verdict
    assert result.verdict.endswith(", which may be chance.")


def test_verdict_names_what_is_worse_than_the_own_loss_though_not_than_the_best():
    wild = values(0.61) + np.array([[-0.4], [0.4], [0.1], [0.3], [-0.4]])
    rows = [Row("own", values=values(0.6)), Row("poor", values=values(0.5, seed=1)), Row("wild", values=wild)]
    found = compare(*rows, own="own").verdict
    expected = (
        r"wild and own cannot be told apart on 60 queries\. poor is worse than the config's own by 0\.1000 \(.*\)\."
    )
    assert re.fullmatch(expected, found), found


def example():
    rows = [
        row("own_loss", 0.5, learning_rate=1e-3, trials=4, runs=9, seconds=12.34, memory_mib=512.0),
        row("b & c", 0.6, metrics={"ndcg_10": 0.6, "map": float("nan")}),
        Row("50% {x}", error="why_not: 1 < 2"),
    ]
    return compare(*rows, own="own_loss", name="shop", folds=5, searched={"learning_rates": [0.001], "trials_each": 4})


def test_json_is_strict_and_comes_back():
    result = example()

    def refuse(constant):
        raise AssertionError(constant)

    plain = json.loads(result.to_json(), parse_constant=refuse)
    assert plain["rows"][0]["metrics"] == {"ndcg_10": 0.6, "map": None}
    assert plain["rows"][1]["spec"] == {"own_loss": {"k": 10}}
    assert plain["rows"][0]["to_own"].keys() == {"difference", "interval", "p", "p_holm"}
    assert plain["searched"] == {"learning_rates": [0.001], "trials_each": 4}
    assert Comparison.from_json(result.to_json()) == result


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Not a comparison: Invalid JSON"),
        ('{"name": "x"}', "Not a comparison: metric: Field required"),
        ("[]", "Not a comparison: "),
    ],
)
def test_something_else_than_a_comparison_is_refused(text, message):
    with pytest.raises(DataError, match=message):
        Comparison.from_json(text)


def test_comparison_of_another_version_is_refused():
    text = example().to_json().replace('"version": 1', '"version": 2')
    with pytest.raises(DataError, match=r"A comparison of version 2; this version reads 1\."):
        Comparison.from_json(text)


def test_csv_has_a_line_for_each_row_with_all_digits():
    result = example()
    lines = list(csv.DictReader(io.StringIO(result.to_csv())))
    assert [line["name"] for line in lines] == ["b & c", "own_loss", "50% {x}"]
    assert float(lines[0]["mean"]) == result.rows[0].mean
    assert float(lines[1]["to_best_low"]) == result.rows[1].to_best.interval[0]
    assert json.loads(lines[1]["spec"]) == {"own_loss": {"k": 10}}
    assert lines[0]["map"] == lines[2]["mean"] == ""
    assert lines[2]["error"] == "why_not: 1 < 2"


def test_tex_is_a_table_of_booktabs_with_escaped_names():
    tex = example().to_tex()
    assert tex.startswith("\\begin{tabular}{lrr")
    assert all(rule in tex for rule in ("\\toprule", "\\midrule", "\\bottomrule", "\\end{tabular}"))
    assert "b \\& c & 0.6000 & " in tex
    assert "50\\% \\{x\\} & failed: why\\_not: 1 $<$ 2 & " in tex
    lines = [line for line in tex.splitlines() if line.endswith("\\\\")]
    assert len({line.replace("\\&", "").count("&") for line in lines}) == 1


def test_table_leaves_out_columns_without_values():
    header, rows = compare(row("a", 0.5), row("b", 0.6)).table()
    assert header == ["", "ndcg_10", "95% interval", "to best", "p (best)", "sd of seeds", "sd of queries"]
    assert rows[0][:2] == ["b", "0.6000"]
    assert rows[1][3:5] == ["-0.1000", "< 0.001"]
    header, _ = example().table()
    assert {"to own_loss", "p (own)", "learning rate", "seconds", "MiB"} <= set(header)


@pytest.mark.parametrize(
    ("rows", "options", "error", "message"),
    [
        ([row("a", 0.5)], {}, UserError, r"A comparison needs at least two rows\. Received: a\."),
        ([], {}, UserError, r"at least two rows\. Received: none\."),
        ([row("a", 0.5), row("a", 0.6)], {}, UserError, r"name of its own\. Received twice: a\."),
        ([row("a", 0.5), row("b", 0.6)], {"own": "c"}, UserError, r"`own` must be the name of a row.*own='c'"),
        ([failed("a"), failed("b")], {}, UserError, r"Nothing to compare: a: labels are grades, not classes; b: "),
        (
            [row("a", 0.5), Row("lightgbm", values=np.ones((1, 48)))],
            {},
            DataError,
            r"lightgbm has values of 48 queries; the comparison has 60 queries\.",
        ),
        (
            [row("a", 0.5), Row("b", values=np.ones((3, 60)))],
            {},
            DataError,
            r"b has values of 3 seeds; the comparison has 5\.",
        ),
        ([row("a", 0.5), Row("b", values=np.ones(60))], {}, DataError, r"b has values of shape \[60\]"),
        (
            [row("a", 0.5), Row("b", values=np.where(np.arange(60) < 1, 0.5, np.nan)[None])],
            {},
            DataError,
            r"at least 2 queries that count in all rows\. Received: 1 of 60; a has 60, b has 1\.",
        ),
    ],
)
def test_rows_that_cannot_be_compared_get_one_line(rows, options, error, message):
    with pytest.raises(error, match=message):
        compare(*rows, **options)
