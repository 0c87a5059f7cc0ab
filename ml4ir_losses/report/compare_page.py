"""The report of a comparison of losses, from what `compare.json` holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ml4ir_losses.report import charts
from ml4ir_losses.report.charts import Estimate
from ml4ir_losses.report.page import Cell, Facts, Page, Plot, Section, Table, number, with_interval

Row = Mapping[str, Any]
_GROUPS = ("not distinguishable from the best", "worse")


def compare_page(found: Mapping[str, Any]) -> Page:
    """The report of a comparison.

    Args:
        found: the content of `compare.json`.
    """
    rows = [row for row in found["rows"] if row["error"] is None]
    failed = [row for row in found["rows"] if row["error"] is not None]
    makers = (_ranking, _differences, _spreads, _cost, _metrics)
    sections = [section for make in makers if rows and (section := make(found, rows)) is not None]
    sections.append(_search(found, rows))
    if failed:
        cells = [[row["name"], row["error"]] for row in failed]
        sections.append(Section("Failed", blocks=[Table(["loss", "reason"], cells, "Losses without a result")]))
    return Page(f"Comparison: {found['name']}", _subtitle(found), found["verdict"], sections)


def _subtitle(found: Mapping[str, Any]) -> str:
    folds = f", {found['folds']} folds" if found["folds"] else ""
    seeds = len(found["seeds"])
    part = f"{found['queries']:,} queries of {found['part']}"
    return f"{found['metric']} on {part}, {seeds} {'seed' if seeds == 1 else 'seeds'}{folds}"


def _label(row: Row, found: Mapping[str, Any]) -> str:
    """The name of a row, and what it is unless a loss."""
    what = "config" if row["name"] == found["own"] else "" if row["kind"] == "loss" else row["kind"]
    return f"{row['name']} ({what})" if what and not str(row["name"]).endswith(")") else str(row["name"])


def _estimate(row: Mapping[str, Any], value: str = "mean") -> Estimate:
    interval = row["interval"]
    return row[value], None if interval is None else (interval[0], interval[1])


def _ranking(found: Mapping[str, Any], rows: Sequence[Row]) -> Section:
    header = ["loss", found["metric"], "95% interval", "to the best", "p (Holm)", "the best?"]
    cells = []
    for row in rows:
        against = row["to_best"] or {}
        best = "best" if _is_best(row, found) else "cannot be excluded" if row["tied_with_best"] else "no"
        difference = _signed(against.get("difference"))
        cells.append([_label(row, found), row["mean"], _range(row), difference, _p_value(against.get("p_holm")), best])
    text = (
        "Means over queries and seeds, with intervals of a bootstrap over both. Differences are paired by query; p is "
        "that of a randomisation test, corrected for the number of comparisons (Holm)."
    )
    notes = list(found.get("notes", ()))
    if found["detectable"]:
        notes.append(f"The smallest difference that these data could show: about {number(found['detectable'])}.")
    return Section("Ranking", text, [Table(header, cells, "Best first", strong=0)], notes)


def _range(estimate: Mapping[str, Any]) -> str | None:
    interval = estimate.get("interval")
    return None if interval is None else f"{number(interval[0])} to {number(interval[1])}"


def _signed(value: float | None) -> str:
    """A difference with its sign."""
    return f"+{number(value)}" if value is not None and value > 0 else number(value)


def _p_value(value: float | None) -> Cell:
    if value is None:
        return None
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _means(found: Mapping[str, Any], rows: Sequence[Row]) -> Plot:
    groups = [0 if row["tied_with_best"] or _is_best(row, found) else 1 for row in rows]
    names = [_label(row, found) for row in rows]
    estimates = [_estimate(row) for row in rows]
    best = next((row["mean"] for row in rows if _is_best(row, found)), None)
    figure = charts.forest(names, estimates, found["metric"], "loss", groups, _GROUPS, reference=best)
    same = [names[i] for i, group in enumerate(groups) if group == 0]
    described = f"Best: {names[0]}, {with_interval(*estimates[0])}. Not distinguishable from it: "
    return Plot("means", f"{found['metric']} of each loss", f"{described}{', '.join(same[1:]) or 'none'}.", figure)


def _is_best(row: Row, found: Mapping[str, Any]) -> bool:
    return bool(row["name"] == found["best"])


def _differences(found: Mapping[str, Any], rows: Sequence[Row]) -> Section:
    means = _means(found, rows)
    others = [row for row in rows if row["to_best"] is not None]
    if not others:
        return Section("Means", "Points are means, lines 95% intervals.", [means])
    names = [_label(row, found) for row in others]
    estimates = [_estimate(row["to_best"], "difference") for row in others]
    groups = [0 if row["tied_with_best"] else 1 for row in others]
    figure = charts.forest(names, estimates, f"difference in {found['metric']}", "loss", groups, _GROUPS, 0.0)
    described = ", ".join(f"{n} {_signed(d)}" for n, (d, _) in list(zip(names, estimates, strict=True))[:5])
    plot = Plot("differences", f"Difference to {found['best']}", f"Paired by query. {described}.", figure)
    cells = [_against(row, row["to_best"], found) for row in others]
    blocks: list[Plot | Table | Facts] = [means, plot, Table(_AGAINST, cells, f"To the best, {found['best']}")]
    own = [_against(row, row["to_own"], found) for row in rows if row["to_own"] is not None]
    if own and found["own"] != found["best"]:
        blocks.append(Table(_AGAINST, own, f"To the loss of the config, {found['own']}"))
    text = (
        "Points are means, lines 95% intervals. Paired differences are more exact than means: what makes a query hard "
        "is the same for both losses."
    )
    return Section("Means and differences", text, blocks)


_AGAINST = ("loss", "difference", "95% interval", "p", "p (Holm)")


def _against(row: Row, other: Mapping[str, Any], found: Mapping[str, Any]) -> list[Cell]:
    """A row of a table of differences."""
    values = [_signed(other["difference"]), _range(other), _p_value(other["p"]), _p_value(other["p_holm"])]
    return [_label(row, found), *values]


def _spreads(found: Mapping[str, Any], rows: Sequence[Row]) -> Section | None:
    shown = [row for row in rows if row["seed_spread"] is not None or row["query_spread"] is not None]
    if not shown:
        return None
    names = [_label(row, found) for row in shown]
    series = {"between seeds": [r["seed_spread"] for r in shown], "between queries": [r["query_spread"] for r in shown]}
    figure = charts.spreads(names, series, f"standard deviation of {found['metric']}", "loss")
    described = f"{names[0]}: seeds {number(shown[0]['seed_spread'])}, queries {number(shown[0]['query_spread'])}."
    plot = Plot("spreads", "Spread between seeds and queries", described, figure)
    text = "More seeds narrow the first spread, more queries the second."
    return Section("Spread", text, [plot])


def _cost(found: Mapping[str, Any], rows: Sequence[Row]) -> Section | None:
    shown = [row for row in rows if row["seconds"]]
    if not shown:
        return None
    names = [_label(row, found) for row in shown]
    figure = charts.bars(names, [(row["seconds"], None) for row in shown], "seconds", "loss")
    slowest = max(shown, key=lambda row: row["seconds"])
    plot = Plot("time", "Time of each loss", f"Slowest: {slowest['name']}, {number(slowest['seconds'], 1)} s.", figure)
    return Section("Time", "Seconds over all trials and runs of a loss.", [plot])


def _metrics(found: Mapping[str, Any], rows: Sequence[Row]) -> Section | None:
    names = list(dict.fromkeys(name for row in rows for name in row["metrics"]))
    if not names:
        return None
    cells = [[_label(row, found), *(row["metrics"].get(name) for name in names)] for row in rows]
    return Section("All metrics", blocks=[Table(["loss", *names], cells, f"Means on {found['part']}")])


def _search(found: Mapping[str, Any], rows: Sequence[Row]) -> Section:
    searched = found["searched"]
    facts: list[tuple[str, Cell]] = [
        ("learning rates tried", ", ".join(f"{rate:g}" for rate in searched.get("learning_rates", ())) or None),
        ("trials for each loss", searched.get("trials_each")),
        ("seeds", ", ".join(map(str, found["seeds"]))),
        ("folds", found["folds"]),
    ]
    header = ["loss", "parameters", "learning rate", "trials", "runs", "seconds", "memory (MiB)"]
    cells = [
        [
            _label(row, found),
            _parameters(row["spec"]),
            None if row["learning_rate"] is None else f"{row['learning_rate']:g}",
            row["trials"],
            row["runs"],
            None if row["seconds"] is None else number(row["seconds"], 1),
            None if row["memory_mib"] is None else round(row["memory_mib"]),
        ]
        for row in rows
    ]
    text = "The learning rate of each loss is the one that was best on the validation queries."
    blocks: list[Plot | Table | Facts] = [Facts([fact for fact in facts if fact[1] is not None])]
    if cells:
        blocks.append(Table(header, cells, "Settings and cost"))
    return Section("Search", text, blocks)


def _parameters(spec: Any) -> str | None:
    """The parameters of a loss spec: `k 10, margin 0.5`."""
    params = {name: value for name, value in spec.items() if name != "key"} if isinstance(spec, Mapping) else {}
    return ", ".join(f"{name} {value}" for name, value in params.items()) or None
