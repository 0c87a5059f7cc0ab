"""The result of a comparison in a sentence or two."""

from __future__ import annotations

from collections.abc import Sequence

from ml4ir_losses.evaluation.compared import ComparedRow, Difference

_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def verdict(rows: Sequence[ComparedRow], own: str | None, metric: str, queries: int) -> str:
    """What can be said about ranked rows, best first and failed ones last.

    Args:
        rows: at least one of which has a mean.
        own: name of the config's own loss.
        metric: name of the compared metric.
        queries: number of queries.
    """
    done = [row for row in rows if row.mean is not None]
    sentences = [*_result(done, own, metric, queries), *_libraries(done), *_failures(rows, own)]
    return " ".join(sentences)


def _result(rows: Sequence[ComparedRow], own: str | None, metric: str, queries: int) -> list[str]:
    best = rows[0]
    tied = [row for row in rows if row.tied_with_best]
    if len(rows) == 1:
        return [f"Only {best.name} finished: {metric} {_number(best.mean)}, nothing to compare it with."]
    mine = next((row for row in rows if row.name == own), None)
    if len(tied) == len(rows):
        names = f"These {_count(len(rows))} cannot be told apart on {queries} queries: {_list(rows)}."
        return [names]
    others = [row for row in tied if row is not best]
    apart = f"{_list(others)} cannot be told apart from {'it' if mine is best else best.name} on {queries} queries."
    if mine is None or mine is best:
        who = f"The config's {best.name}" if mine is best else best.name
        if others:
            return [f"{who} has the best {metric}, {_number(best.mean)}; {apart}"]
        nearest = rows[1]
        return [f"{who} is better than all others; the nearest is {nearest.name}, by {_by(nearest.to_best)}."]
    better = [row for row in rows[: rows.index(mine)] if row.to_own is not None and row.to_own.significant]
    if not better:
        lead = _by(best.to_own)
        return [
            f"Nothing is shown to be better than the config's {mine.name} on {queries} queries: "
            f"{best.name} has the best {metric}, ahead by {lead}."
        ]
    first = better[0]
    sentences = [f"{first.name} is better than the config's {mine.name} by {_by(first.to_own)}."]
    if others:
        sentences.append(apart)
    return sentences


def _libraries(rows: Sequence[ComparedRow]) -> list[str]:
    """Who is the best of the losses, where something else is the best of all."""
    first = next((row for row in rows if row.kind == "loss"), None)
    if first is None or first is rows[0]:
        return []
    what = "a library" if rows[0].kind == "library" else "a baseline without training"
    return [f"{rows[0].name} is {what}; the best loss is {first.name}, {_number(first.mean)}."]


def _failures(rows: Sequence[ComparedRow], own: str | None) -> list[str]:
    failed = [row for row in rows if row.mean is None]
    if not failed:
        return []
    names = [f"the config's {row.name}" if row.name == own else row.name for row in failed]
    return [f"Failed: {', '.join(names)}."]


def _by(difference: Difference | None) -> str:
    """`0.0120 (0.0041 to 0.0209)`: the absolute difference, and its interval in the same direction."""
    if difference is None:
        return "nothing"
    sign = -1.0 if difference.difference < 0 else 1.0
    low, high = sorted(sign * limit for limit in difference.interval)
    return f"{_number(sign * difference.difference)} ({_number(low)} to {_number(high)})"


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.{4 if abs(value) < 10 else 2}f}"


def _count(number: int) -> str:
    return _WORDS[number] if number < len(_WORDS) else str(number)


def _list(rows: Sequence[ComparedRow]) -> str:
    names = [row.name for row in rows]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
