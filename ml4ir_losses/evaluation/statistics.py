"""Intervals and tests for metric values [S, Q] of S training seeds on Q queries.

The values follow a crossed model: a mean, an effect of the query, an effect of the seed, and noise,

$$x_{sq} = \\mu + a_q + b_s + e_{sq}$$

so that more queries do not make the effect of a seed smaller, nor more seeds that of a query.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ml4ir_losses.core.arrays import Array

LEVEL = 0.05  # of the tests; the intervals have the confidence 1 - LEVEL
POWER = 0.8
RESAMPLES = 5_000  # of an interval
FLIPS = 10_000  # of a test: at least so many, and
FLIPS_PER_PAIR = 100  # so many for each pair: Holm's correction multiplies the smallest p value by the number of pairs
_CELLS = 4_000_000  # of a matrix [resamples, queries] in memory
_ROUNDING = 1e-12
_SMALLEST_P = 1e-200  # of which there is still a quantile


@dataclass(frozen=True)
class Variance:
    """Mean squares of K arrays [S, Q], [K] each.

    Attributes:
        mean: over seeds and queries.
        query: S times the variance between the means of queries.
        seed: Q times the variance between the means of seeds; 0 for one seed.
        noise: what neither of them explains; 0 for one seed.
        seeds: S.
        queries: Q.
    """

    mean: Array
    query: Array
    seed: Array
    noise: Array
    seeds: int
    queries: int

    @property
    def between_queries(self) -> Array:
        """The share of `query` that is not noise."""
        share: Array = np.maximum(self.query - self.noise, 0.0)
        return share

    @property
    def error(self) -> Array:
        """Standard error of the mean over new queries and seeds."""
        error: Array = np.sqrt((self.seed + self.between_queries) / (self.seeds * self.queries))
        return error

    def degrees(self, of_queries: float) -> Array:
        r"""Degrees of freedom of `error`, where the queries alone have the given number.

        $$\nu = \frac{(c M_s + V_q)^2}{(c M_s)^2 / (S - 1) + V_q^2 / \nu_q},\qquad c = (1 + 2 / (S - 1))^2$$

        Satterthwaite's are those with c = 1. They are too many for two and three seeds: where the seeds agree by
        chance, both the standard error and their weight are too small. With c the intervals cover 95%.

        Source: Satterthwaite, "An approximate distribution of estimates of variance components" (1946).
        """
        if self.seeds == 1:
            return np.full_like(self.mean, of_queries)
        seed = (1 + 2 / (self.seeds - 1)) ** 2 * self.seed
        total, parts = seed + self.between_queries, seed**2 / (self.seeds - 1) + self.between_queries**2 / of_queries
        degrees: Array = np.divide(total**2, parts, out=np.full_like(total, of_queries), where=parts > 0)
        return degrees

    @property
    def seed_spread(self) -> Array:
        """Standard deviation between seeds, without noise."""
        spread: Array = np.sqrt(np.maximum(self.seed - self.noise, 0.0) / self.queries)
        return spread

    @property
    def query_spread(self) -> Array:
        """Standard deviation between queries, without noise where there are several seeds."""
        return np.sqrt(self.between_queries / self.seeds)


def variance(values: Array) -> Variance:
    """The mean squares of values [K, S, Q]."""
    _, s, q = values.shape
    mean, by_query, by_seed = values.mean(axis=(1, 2)), values.mean(axis=1), values.mean(axis=2)
    query = s * np.square(by_query - mean[:, None]).sum(axis=1)
    seed = q * np.square(by_seed - mean[:, None]).sum(axis=1)
    total = np.einsum("ksq,ksq->k", values, values) - s * q * mean**2
    rounding = _ROUNDING * np.einsum("ksq,ksq->k", values, values)
    query, seed, noise = (
        np.where(part > rounding, part, 0.0) / max(count, 1)
        for part, count in ((query, q - 1), (seed, s - 1), (total - query - seed, (s - 1) * (q - 1)))
    )
    zero = np.zeros_like(mean)
    return Variance(mean, query, seed if s > 1 else zero, noise if s > 1 else zero, s, q)


def student_p(v: Variance) -> Array:
    """Two-sided p values of Student's t test that the means are 0, [K]."""
    from scipy.special import stdtr

    t = np.divide(np.abs(v.mean), v.error, out=np.where(v.mean == 0, 0.0, np.inf), where=v.error > 0)
    p: Array = 2 * stdtr(v.degrees(v.queries - 1), -t)
    return p


def randomisation_p(values: Array, seed: int = 0) -> Array:
    """Two-sided p values for each two of L losses with values [L, S, Q], [L, L]; 1 on the diagonal.

    For one seed this is Fisher's randomisation test: the share of the ways to give the differences of queries a sign
    in which their mean is at least as large as the measured one. All ways are counted where there are few, else random
    ones are drawn. Signs of queries do not know that all queries share the effect of a seed. So for several seeds the
    differences are first shifted: their mean becomes the one that would have the same p value in Student's t test if
    seeds had no effect.

    Source: Fisher, "The design of experiments" (1935); Smucker, Allan, Carterette, "A comparison of statistical
    significance tests for information retrieval evaluation" (2007).
    """
    count, _, queries = values.shape
    needed, shift = np.zeros((2, count, count))
    for i in range(count - 1):
        v = variance(values[i] - values[i + 1 :])
        shifted = _without_seeds(v)
        needed[i, i + 1 :], shift[i, i + 1 :] = np.abs(shifted), v.mean - shifted
    by_query = values.mean(axis=1)
    by_query = (by_query - by_query.mean(axis=0)).T  # differences stay, and rounding errors become small
    flips = max(FLIPS, FLIPS_PER_PAIR * count * (count - 1) // 2)
    exact = queries < 64 and 2**queries <= flips
    reached = np.zeros((count, count))
    for signs in _all_signs(queries) if exact else _random_signs(flips, queries, seed):
        means, mean_sign = signs @ by_query.astype(signs.dtype) / queries, signs.mean(axis=1, keepdims=True)
        tolerance = 1e-9 if exact else 1e-5  # float64, float32
        for i in range(count - 1):
            rest = slice(i + 1, None)
            differences = means[:, [i]] - means[:, rest]
            if shift.any():
                differences -= mean_sign * shift[i, rest].astype(signs.dtype)
            reached[i, rest] += np.count_nonzero(np.abs(differences) >= needed[i, rest] * (1 - tolerance), axis=0)
    p: Array = reached / 2.0**queries if exact else (reached + 1) / (flips + 1)
    p = np.triu(p, 1)
    p += p.T + np.eye(count)
    return p


def _without_seeds(v: Variance) -> Array:
    """The means that would have the same p values in Student's t test if seeds had no effect, [K]."""
    from scipy.special import stdtrit

    t = -stdtrit(v.queries - 1, np.maximum(student_p(v), _SMALLEST_P) / 2)
    means: Array = np.where(v.seed > 0, np.sign(v.mean) * t * np.sqrt(v.query / (v.seeds * v.queries)), v.mean)
    return means


def _all_signs(queries: int) -> Iterator[Array]:
    """Every row of 1 and -1, [2^Q, Q]."""
    yield 1.0 - 2.0 * ((np.arange(2**queries)[:, None] >> np.arange(queries)) & 1)


def _random_signs(rows: int, queries: int, seed: int) -> Iterator[Array]:
    """Random rows of 1 and -1, [rows, Q], in parts."""
    rng = np.random.default_rng(seed)
    for size in _sizes(rows, queries):
        octets = np.frombuffer(rng.bytes(size * -(-queries // 8)), "uint8").reshape(size, -1)
        signs = np.unpackbits(octets, axis=1, count=queries).astype("float32")
        signs *= -2
        signs += 1
        yield signs


def _sizes(rows: int, queries: int) -> Iterator[int]:
    """Sizes of the parts of a matrix [rows, Q]."""
    step = max(_CELLS // queries, 1)
    return (min(step, rows - start) for start in range(0, rows, step))


def bootstrap(values: Array, seed: int = 0) -> Array:
    """Deviations of the means over resampled queries from the means of values [L, S, Q], [R, L]."""
    rng = np.random.default_rng(seed)
    by_query = values.mean(axis=1)
    by_query = (by_query - by_query.mean(axis=1, keepdims=True)).T
    queries, parts = len(by_query), []
    for size in _sizes(RESAMPLES, queries):
        drawn = rng.integers(0, queries, (size, queries)) + queries * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * queries).reshape(size, queries)
        parts.append(counts @ by_query / queries)
    return np.concatenate(parts)


def interval(values: Array, deviations: Array, *, skewed: bool, seed: int = 0) -> tuple[float, float]:
    """95% confidence interval of the mean of values [S, Q] over new queries and new seeds.

    A bootstrap of two levels. Queries are resampled (`deviations` [R] of `bootstrap`). Seeds are drawn from a normal
    distribution with their estimated variance, since the resamples of two to ten seeds have too small a variance and
    no tails. The spread of the draws is then widened from a normal distribution to Student's, by the degrees of
    freedom of both levels. Normal noise of the variance that a resample lacks (1/Q) makes steps of the draws smooth.

    Args:
        values: [S, Q].
        deviations: [R] means over resampled queries, less the mean.
        skewed: whether the limits follow the skewness of the values (bias-corrected and accelerated). Right for
            means of a bounded metric; differences are nearly symmetric, and their estimated skewness is mostly chance.
        seed: of the drawn effects of seeds.

    Source: Efron, "Better bootstrap confidence intervals" (1987); Owen, "The pigeonhole bootstrap" (2007), on why
    resampling rows and columns alone does not give the variance of a crossed model.
    """
    from scipy.special import ndtr, ndtri, stdtrit

    v = variance(values[None])
    mean, size = float(v.mean[0]), v.seeds * v.queries
    if not float(v.error[0]) > 0:
        return mean, mean
    of_queries = float(v.between_queries[0])
    draws = deviations * np.sqrt(of_queries / float(v.query[0]) if of_queries else 0.0)
    noise = np.random.default_rng(seed).normal(size=len(draws))
    draws = draws + noise * np.sqrt((float(v.seed[0]) + of_queries / v.queries) / size)
    z = ndtri([LEVEL / 2, 1 - LEVEL / 2])
    levels = z
    if skewed:
        centred = values.mean(axis=0) - mean
        share = of_queries / (of_queries + float(v.seed[0]))
        acceleration = share**1.5 * float((centred**3).sum() / (6 * (centred**2).sum() ** 1.5))
        bias = ndtri(np.clip(np.mean(draws < 0), 1 / len(draws), 1 - 1 / len(draws)))
        levels = bias + (bias + z) / (1 - acceleration * (bias + z))
    widened = stdtrit(v.degrees(v.queries - 1)[0], 1 - LEVEL / 2) / z[1]
    low, high = mean + widened * np.quantile(draws, ndtr(levels))
    return float(low), float(high)


def holm(p: Array, weights: Array | None = None) -> Array:
    """Holm-corrected p values [K]; the hypotheses share the level in proportion to their weights, equally without.

    Source: Holm, "A simple sequentially rejective multiple test procedure" (1979).
    """
    weights = np.ones(len(p)) if weights is None else weights
    order = np.argsort(p / weights, kind="stable")
    remaining = np.cumsum(weights[order][::-1])[::-1]
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate((p / weights)[order] * remaining), 1.0)
    return corrected


def pair_weights(count: int, own: int | None) -> Array:
    """How the pairs of L losses share the level of their tests, [L, L]; the weights of the pairs i < j sum to 1.

    The best loss is chosen by the data, so all pairs count. The config's own loss is known before: the L - 1 pairs with
    it have one half of the level together, and the other pairs have the other half.
    """
    pairs = count * (count - 1) // 2
    if own is None or count < 3:
        return np.full((count, count), 1 / max(pairs, 1))
    weights = np.full((count, count), 0.5 / (pairs - (count - 1)))
    weights[own] = weights[:, own] = 0.5 / (count - 1)
    return weights


def corrected_p(p: Array, own: int | None = None) -> Array:
    """Holm-corrected p values of the pairs of L losses, [L, L], one of which may be the config's own."""
    upper = np.triu_indices(len(p), 1)
    corrected = np.ones_like(p)
    corrected[upper] = holm(p[upper], pair_weights(len(p), own)[upper])
    result: Array = np.minimum(corrected, corrected.T)
    return result


def detectable(v: Variance, share: float) -> Array:
    """The smallest true differences [K] that a test finds with 80% power at this share of the level of 5%."""
    from scipy.special import stdtrit

    degrees = v.degrees(v.queries - 1)
    needed: Array = (stdtrit(degrees, 1 - LEVEL * share / 2) + stdtrit(degrees, POWER)) * v.error
    return needed
