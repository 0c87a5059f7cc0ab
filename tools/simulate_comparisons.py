"""Simulates comparisons of losses: `python -m tools.simulate_comparisons` prints the tables of docs/comparing.md.

The values of loss l, seed s and query q are

    level + query + loss x query + seed + seed x query,

normal effects whose standard deviations a `World` holds; the second of them is shared by the losses, the others are
drawn for each loss. A bounded world clips them to 0 and 1, as NDCG is, with many values at both ends.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import norm

from ml4ir_losses.evaluation.statistics import LEVEL, bootstrap, corrected_p, interval, randomisation_p

Values = np.ndarray


@dataclass(frozen=True)
class World:
    """What the values are drawn from; the losses differ in the mean by `gap` from one to the next."""

    losses: int = 2
    seeds: int = 5
    queries: int = 50
    of_seed: float = 0.0
    of_loss_and_query: float = 0.08
    of_seed_and_query: float = 0.08
    of_query: float = 0.25
    level: float = 0.5
    gap: float = 0.0
    bounded: bool = False

    def draw(self, rng: np.random.Generator) -> Values:
        """Values [L, S, Q]."""
        shape = (self.losses, self.seeds, self.queries)
        values = (self.level + self.gap * np.arange(self.losses))[:, None, None] + np.zeros(shape)
        values = values + self.of_query * rng.normal(size=(1, 1, self.queries))
        values = values + self.of_loss_and_query * rng.normal(size=(self.losses, 1, self.queries))
        values = values + self.of_seed * rng.normal(size=(self.losses, self.seeds, 1))
        values = values + self.of_seed_and_query * rng.normal(size=shape)
        return np.clip(values, 0, 1) if self.bounded else values

    def mean(self, loss: int) -> float:
        """The expected value of a loss over all queries and seeds."""
        centre = self.level + self.gap * loss
        if not self.bounded:
            return centre
        parts = (self.of_query, self.of_loss_and_query, self.of_seed, self.of_seed_and_query)
        spread = float(np.sqrt(np.square(parts).sum()))
        low, high = -centre / spread, (1 - centre) / spread
        inside = norm.cdf(high) - norm.cdf(low)
        return float(centre * inside + spread * (norm.pdf(low) - norm.pdf(high)) + norm.sf(high))


def false_alarms(world: World, simulations: int, own: int | None = None) -> tuple[float, float, float]:
    """How often a difference is significant where there is none: of losses 0 and 1, to own, of any row."""
    rng = np.random.default_rng(0)
    found = np.zeros(3)
    for n in range(simulations):
        values = world.draw(rng)
        p = randomisation_p(values, seed=n)
        corrected = corrected_p(p, own) <= LEVEL
        best = int(values.mean(axis=(1, 2)).argmax())
        to_own = own is not None and bool(corrected[own].any())
        found += p[0, 1] <= LEVEL, to_own, to_own or corrected[best].any()
    pair, one, any_ = (float(share) for share in found / simulations)
    return pair, one, any_


def coverage(world: World, simulations: int) -> tuple[float, float]:
    """How often the intervals of a mean, and of the difference of two losses, hold the true value."""
    rng = np.random.default_rng(0)
    found = np.zeros(2)
    for n in range(simulations):
        values = world.draw(rng)
        deviations = bootstrap(values, seed=n)
        low, high = interval(values[0], deviations[:, 0], skewed=True, seed=n)
        difference = values[1] - values[0], deviations[:, 1] - deviations[:, 0]
        from_, to = interval(*difference, skewed=False, seed=n)
        found += low <= world.mean(0) <= high, from_ <= world.mean(1) - world.mean(0) <= to
    mean, gap = (float(share) for share in found / simulations)
    return mean, gap


BOUNDED = World(bounded=True, level=0.65, of_query=0.45)
SEED_EFFECTS = (0.0, 0.01, 0.03)


def pair_rows(simulations: int) -> Iterator[list[str]]:
    """A/A comparisons of two losses."""
    for bounded, seeds, of_seed in _grid((1, 5), SEED_EFFECTS):
        cells = []
        for of_loss_and_query, queries in ((0.0, 50), (0.08, 50), (0.0, 200), (0.08, 200)):
            world = replace(bounded, seeds=seeds, of_seed=of_seed, queries=queries)
            cells.append(false_alarms(replace(world, of_loss_and_query=of_loss_and_query), simulations)[0])
        yield [*_names(bounded, seeds, of_seed), *_percent(cells)]


def family_rows(simulations: int) -> Iterator[list[str]]:
    """A/A comparisons of ten losses."""
    for bounded, seeds, of_seed in _grid((1, 5), SEED_EFFECTS):
        if seeds == 1 and of_seed:
            continue
        cells = []
        for of_loss_and_query in (0.0, 0.08):
            world = replace(bounded, losses=10, seeds=seeds, of_seed=of_seed, of_loss_and_query=of_loss_and_query)
            cells += false_alarms(world, simulations, own=0)[1:]
        yield [*_names(bounded, seeds, of_seed), *_percent(cells)]


def coverage_rows(simulations: int) -> Iterator[list[str]]:
    """Intervals of the mean and of the difference."""
    for bounded, seeds, of_seed in _grid((1, 2, 3, 5, 10), SEED_EFFECTS):
        if seeds == 1 and of_seed:
            continue
        cells = []
        for queries in (20, 50, 200):
            cells += coverage(replace(bounded, seeds=seeds, of_seed=of_seed, queries=queries, gap=0.03), simulations)
        yield [*_names(bounded, seeds, of_seed), *_percent(cells)]


def _grid(seeds: Iterable[int], effects: Iterable[float]) -> Iterator[tuple[World, int, float]]:
    effects = tuple(effects)
    return ((world, s, effect) for s in seeds for effect in effects for world in (World(), BOUNDED))


def _names(world: World, seeds: int, of_seed: float) -> list[str]:
    return [str(seeds), f"{of_seed:g}", "0 to 1" if world.bounded else "normal"]


def _percent(shares: Iterable[float]) -> list[str]:
    return [f"{100 * share:.1f}" for share in shares]


FIRST = ["seeds", "sd of seeds", "values"]
TABLES = {
    "pairs": (pair_rows, ["same seeds, 50 queries", "another loss, 50", "same loss, 200", "another loss, 200"]),
    "families": (family_rows, ["same loss: to own", "to own or best", "other losses: to own", "to own or best"]),
    "intervals": (coverage_rows, [f"{what}, {n}" for n in (20, 50, 200) for what in ("mean", "difference")]),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="*", default=list(TABLES), help=f"of {', '.join(TABLES)}")
    parser.add_argument("--simulations", type=int, default=1000)
    options = parser.parse_args()
    for name in options.tables:
        rows, header = TABLES[name]
        print(f"\n{name}: {rows.__doc__} Percent of {options.simulations} simulations.\n", flush=True)
        print(_line([*FIRST, *header]), _line(["---"] * (3 + len(header))), sep="\n", flush=True)
        for row in rows(options.simulations):
            print(_line(row), flush=True)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
