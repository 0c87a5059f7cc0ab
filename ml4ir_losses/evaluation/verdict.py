"""The result of a comparison in a sentence or two."""

from __future__ import annotations

from collections.abc import Sequence

from ml4ir_losses.evaluation.compared import ComparedRow, Difference

_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NAMED = 8  # rows that a sentence names


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
    best, mine = rows[0], next((row for row in rows if row.name == own), None)
    tied = [row for row in rows[1:] if row.tied_with_best]
    if len(rows) == 1:
        return [f"Only {best.name} finished, with {metric} {_number(best.mean)}: there is nothing to compare it with."]
    if len(tied) == len(rows) - 1 and not _better_than(mine, rows):
        worse = _worse_than(mine, rows)
        equal = [row for row in rows if row not in worse]
        apart = f"cannot be told apart on {queries} queries"
        told = f"{_list(equal)} {apart}." if len(equal) == 2 else f"These {_count(len(equal))} {apart}: {_list(equal)}."
        return [told, *(f"{row.name} is worse than the config's {own} by {_by(row.to_own)}." for row in worse)]
    if mine is None or mine is best:
        who = f"The config's {best.name}" if mine else best.name
        if tied:
            leader = f"{who} has the best {metric}, {_number(best.mean)}"
            return [f"{leader}; {_list(tied)} cannot be told apart from it on {queries} queries."]
        return [f"{who} is better than all others; the nearest is {rows[1].name}, by {_by(rows[1].to_best)}."]
    lead = f"{best.name} has the best {metric}, ahead by {_by(best.to_own)}"
    better = _better_than(mine, rows)
    if not better:
        return [f"Nothing is shown to be better than the config's {mine.name} on {queries} queries: {lead}."]
    result = [f"{better[0].name} is better than the config's {mine.name} by {_by(better[0].to_own)}."]
    if better[0] is not best:
        result.append(f"{lead}, which may be chance.")
    elif tied:
        result.append(f"{_list(tied)} cannot be told apart from {best.name} on {queries} queries.")
    return result


def _better_than(own: ComparedRow | None, rows: Sequence[ComparedRow]) -> list[ComparedRow]:
    """The rows above the config's own whose difference to it is significant."""
    above = rows[: rows.index(own)] if own is not None else []
    return [row for row in above if row.to_own is not None and row.to_own.significant]


def _worse_than(own: ComparedRow | None, rows: Sequence[ComparedRow]) -> list[ComparedRow]:
    """The rows below the config's own whose difference to it is significant."""
    below = rows[rows.index(own) :] if own is not None else []
    return [row for row in below if row.to_own is not None and row.to_own.significant]


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
    """`a`, `a and b`, `a, b and c`; of many rows the first ones."""
    names = [row.name for row in rows[:_NAMED]]
    if len(rows) > _NAMED:
        names.append(f"{len(rows) - _NAMED} more")
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
