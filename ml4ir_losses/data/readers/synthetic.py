"""A synthetic, seeded search log of a shop with grades and position-biased clicks, for examples and tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Le

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.core.parameters import NonNegative, PositiveInt
from ml4ir_losses.core.registry import register_reader
from ml4ir_losses.data.clicks.models import PositionBased
from ml4ir_losses.data.table import Source, Table, ranks_in_queries

SPLITS = ("train", "validation", "test")
SEGMENTS = ("budget", "family", "enthusiast", "premium")
DEVICES = ("desktop", "mobile", "tablet", "app")
GRADE_SHARES = (0.64, 0.17, 0.10, 0.06, 0.03)  # of grades 0 to 4 over all documents
CLICK_SHARES = (0.03, 0.15, 0.35, 0.6, 0.9)  # of examined documents of grades 0 to 4
ITEMS, BRANDS, MAX_DOCUMENTS = 5000, 200, 100
NO_WORD = -1  # padding of word lists

_NOUNS = {
    "audio": "headphones earbuds speaker amplifier turntable microphone soundbar radio",
    "phones": "smartphone charger case powerbank cable holder handset screen",
    "computers": "laptop monitor keyboard mouse router webcam dock tablet",
    "cameras": "camera lens tripod flash filter strap drone gimbal",
    "kitchen": "kettle toaster blender pan knife grill mixer pot",
    "coffee": "espresso grinder mug filter beans carafe frother roaster",
    "furniture": "desk chair sofa shelf wardrobe table stool cabinet",
    "lighting": "lamp bulb lantern spotlight chandelier torch dimmer strip",
    "bedding": "pillow duvet mattress blanket sheet topper quilt cushion",
    "garden": "mower hose shovel planter trellis pruner sprinkler bench",
    "tools": "drill saw hammer wrench sander screwdriver level clamp",
    "cycling": "bike helmet pedal saddle lock pump tyre jersey",
    "camping": "tent stove backpack hammock cooler rope lantern mat",
    "running": "shoes shorts socks watch vest belt bottle jacket",
    "fitness": "dumbbell treadmill mat kettlebell rower bench band rack",
    "toys": "puzzle robot blocks doll train kite marbles racer",
    "baby": "stroller crib bottle monitor carrier highchair blanket bib",
    "beauty": "shampoo serum razor brush mirror cream dryer perfume",
    "pets": "leash bowl kennel brush collar aquarium litter treats",
    "stationery": "notebook pen stapler binder marker paper folder stamp",
}
_MODIFIERS = (
    "wireless compact foldable waterproof steel wooden portable rechargeable smart mini large light heavy classic "
    "modern vintage ergonomic adjustable silent fast red black white green blue silver organic cotton leather bamboo "
    "carbon ceramic travel outdoor indoor kids professional digital solar magnetic slim soft rugged deluxe"
)
_ONSETS, _NUCLEI, _CODAS = ("b br d f gl h k kr l m n p r s st t tr v z", "a e i o u ia eo", "n r l x nd sk th m")


@dataclass(frozen=True)
class _World:
    """The catalogue that all splits share: words, brands, items, and the brand preferences behind the grades."""

    words: Array
    brands: Array
    title: Array  # [items, words]: word numbers, NO_WORD at the end of short ones
    brand: Array
    category: Array
    log_price: Array
    price: Array  # NaN: not in the feed
    quality: Array
    popularity: Array
    rating: Array  # NaN: no ratings yet
    age_days: Array
    in_stock: Array
    brand_affinity: Array  # [brands, categories]
    rarity: Array  # [words]


@dataclass(frozen=True)
class _Log:
    """Queries, and one row per document of a query; `query` holds the index of each row's query."""

    text: Array
    length: Array
    category: Array
    segment: Array
    device: Array
    hour: Array
    query: Array
    item: Array
    title_match: Array
    bm25: Array
    utility: Array


@register_reader("synthetic")
def synthetic(
    path: str,
    *,
    queries: Annotated[int, Ge(10)] = 2000,
    seed: Annotated[int, Ge(0)] = 7,
    min_documents: PositiveInt = 5,
    max_documents: Annotated[int, Ge(1), Le(MAX_DOCUMENTS)] = 60,
    eta: NonNegative = 1.0,
    noise: NonNegative = 0.7,
) -> Table:
    """A search log made from a seed; `path` is the split: train, validation or test (70, 15 and 15 % of the queries).

    Grades (`label`, 0 to 4) come from a hidden utility with interactions: price sensitivity by user segment, brand
    affinity by category, match by query length. `clicked` comes from the grade and from `shown_rank`, the place that
    a production ranker gave the document. Documents of a query are adjacent, in no order.

    Args:
        path: the split.
        queries: number of queries of all splits together.
        seed: equal seeds give equal tables.
        min_documents: documents of a query, at least.
        max_documents: documents of a query, at most.
        eta: severity of the position bias; a document at rank r is examined with probability 1 / r^eta.
        noise: standard deviation of the utility that no column explains.

    Raises:
        UserError: an unknown split, or a number out of range.
    """
    if path not in SPLITS:
        raise DataError(f"Synthetic data has the splits {', '.join(SPLITS)}. Received: {path!r}.")
    if min_documents > max_documents:
        raise DataError(
            f"Synthetic data needs min_documents <= max_documents. Received: {min_documents}, {max_documents}."
        )
    world = _world(np.random.default_rng([seed, 0]))
    sizes = (min_documents, max_documents)
    sample = _log(np.random.default_rng([seed, 1]), world, 500, sizes, noise)
    limits = np.quantile(sample.utility, np.cumsum(GRADE_SHARES)[:-1])  # from a sample, so that splits agree
    split = SPLITS.index(path)
    starts = [0, round(0.7 * queries), round(0.85 * queries), queries]
    rng = np.random.default_rng([seed, 2 + split])
    log = _log(rng, world, starts[split + 1] - starts[split], sizes, noise)
    grade = np.searchsorted(limits, log.utility, side="right")
    columns = _columns(rng, world, log, grade, starts[split], eta)
    return Table(columns, [Source(f"synthetic {path}", len(grade), lambda row: row + 2)])


def _world(rng: np.random.Generator) -> _World:
    nouns = [text.split() for text in _NOUNS.values()]
    words = list(dict.fromkeys(word for group in [*nouns, _MODIFIERS.split()] for word in group))
    number = {word: i for i, word in enumerate(words)}
    vocabulary = np.array([[number[word] for word in group] for group in nouns])
    modifiers = np.array([number[word] for word in _MODIFIERS.split()])
    category = rng.choice(len(nouns), ITEMS, p=_zipf(len(nouns), 0.5))
    # a small brand sells in few categories, a large one in most
    presence = _zipf(BRANDS, 1.0)[:, None] * rng.gamma(0.3, size=(BRANDS, len(nouns)))
    steps = np.cumsum(presence / presence.sum(axis=0), axis=0)
    brand = (rng.random(ITEMS)[:, None] > steps[:, category].T).sum(axis=1).clip(max=BRANDS - 1)
    noun = vocabulary[category[:, None], rng.permuted(np.tile(np.arange(8), (ITEMS, 1)), axis=1)[:, :2]]
    noun[rng.random(ITEMS) < 0.4, 1] = NO_WORD
    modifier = modifiers[rng.permuted(np.tile(np.arange(len(modifiers)), (ITEMS, 1)), axis=1)[:, :4]]
    modifier[np.arange(4) >= rng.integers(1, 5, ITEMS)[:, None]] = NO_WORD
    title = np.concatenate([noun, modifier], axis=1)
    quality = rng.normal(size=ITEMS)
    level = rng.normal(3.5, 0.8, len(nouns))
    prestige = rng.normal(0, 0.4, BRANDS)
    age_days = np.ceil(rng.exponential(400, ITEMS)).astype(int)
    popularity = np.floor(np.exp(1.5 + 0.8 * quality + 0.5 * np.log(age_days) + rng.normal(0, 1.2, ITEMS)))
    rating = np.clip(np.round(3.8 + 0.5 * quality + rng.normal(0, 0.5, ITEMS), 1), 1, 5)
    counts = np.bincount(title[title != NO_WORD], minlength=len(words))
    log_price = level[category] + prestige[brand] + 0.2 * quality + rng.normal(0, 0.6, ITEMS)
    return _World(
        words=np.array(words, object),
        brands=_brand_names(rng),
        title=title,
        brand=brand,
        category=category,
        log_price=log_price,
        price=np.where(rng.random(ITEMS) < 0.05, np.nan, np.round(np.exp(log_price), 2)),
        quality=quality,
        popularity=popularity.astype(int),
        rating=np.where((age_days < 60) | (rng.random(ITEMS) < 0.03), np.nan, rating),
        age_days=age_days,
        in_stock=(rng.random(ITEMS) < 0.9).astype(int),
        brand_affinity=rng.normal(size=(BRANDS, len(nouns))),
        rarity=np.log(1 + ITEMS / (1 + counts)),
    )


def _log(rng: np.random.Generator, world: _World, queries: int, sizes: tuple[int, int], noise: float) -> _Log:
    categories = len(_NOUNS)
    category = rng.choice(categories, queries, p=_zipf(categories, 0.5))
    segment = rng.choice(len(SEGMENTS), queries, p=[0.35, 0.3, 0.2, 0.15])
    device = rng.choice(len(DEVICES), queries, p=[0.35, 0.4, 0.05, 0.2])
    hour = rng.integers(0, 24, queries)
    length = rng.choice([1, 2, 3, 4], queries, p=[0.25, 0.35, 0.25, 0.15])
    low, high = sizes
    documents = (low + np.floor((high - low + 1) * rng.beta(1.2, 1.6, queries))).astype(int).clip(low, high)
    offset = rng.normal(0, 0.9, queries)  # how well the whole shop fits the query
    members = [np.flatnonzero(world.category == c) for c in range(categories)]
    text = np.full((queries, 4), NO_WORD)
    item = []
    for q in range(queries):
        # the query holds the words that a shopper recalls of an item
        wanted = world.title[rng.choice(members[category[q]])]
        recalled = np.concatenate([wanted[:1], rng.permutation(wanted[1:][wanted[1:] != NO_WORD])])[: length[q]]
        text[q, : len(recalled)] = recalled
        candidates = members[category[q]]
        overlap = np.isin(world.title[candidates], recalled).sum(axis=1)
        similar = candidates[np.argsort(-1.2 * overlap - rng.gumbel(size=len(candidates)), kind="stable")]
        unrelated = rng.choice(ITEMS, documents[q], replace=False)
        unrelated = unrelated[world.category[unrelated] != category[q]][: rng.binomial(documents[q], 0.12)]
        retrieved = np.concatenate([unrelated, similar[: documents[q] - len(unrelated)]])
        item.append(rng.permutation(retrieved))
    length = (text != NO_WORD).sum(axis=1)
    rows = np.array([len(retrieved) for retrieved in item])
    query, items = np.repeat(np.arange(queries), rows), np.concatenate(item)
    hits = (world.title[items][:, :, None] == text[query][:, None, :]).any(axis=1) & (text[query] != NO_WORD)
    match = hits.sum(axis=1) / length[query]
    title_length = (world.title[items] != NO_WORD).sum(axis=1) / 4
    bm25 = (hits * world.rarity[text[query]]).sum(axis=1) * 2.2 / (1 + 1.2 * (0.25 + 0.75 * title_length))
    bm25 = np.maximum(bm25 + rng.normal(0, 0.8, len(items)), 0)
    utility = _utility(world, category[query], segment[query], device[query], length[query], items, match)
    utility += offset[query] + rng.normal(0, noise, len(items))
    return _Log(text, length, category, segment, device, hour, query, items, match, bm25, np.round(utility, 9))


def _utility(
    world: _World, category: Array, segment: Array, device: Array, length: Array, item: Array, match: Array
) -> Array:
    """The utility of an item to the shopper, without the query's offset and the noise."""
    mean = np.array([world.log_price[world.category == c].mean() for c in range(len(_NOUNS))])
    price = (world.log_price - mean[world.category])[item]  # relative to its category
    preferred_price = np.array([-0.8, -0.3, 0.3, 0.9])[segment]
    price_sensitivity = np.array([1.0, 0.5, 0.5, 0.8])[segment]
    utility = (0.5 + 0.5 * length) * match
    utility -= price_sensitivity * (price - preferred_price) ** 2
    utility += 0.7 * world.brand_affinity[world.brand[item], category]
    utility += np.array([0.2, 0.5, 0.8, 0.5])[segment] * world.quality[item]
    utility += np.where(device == 0, 0.05, 0.2) * np.log1p(
        world.popularity[item]
    )  # popular items sell better on small screens
    utility += np.where(segment == 2, 0.6, 0.0) * (world.age_days[item] < 120)
    utility -= 0.8 * (1 - world.in_stock[item])
    return np.asarray(utility - 2.5 * (world.category[item] != category))


def _columns(
    rng: np.random.Generator, world: _World, log: _Log, grade: Array, start: int, eta: float
) -> dict[str, Any]:
    query, item = log.query, log.item
    rows = len(item)
    production = log.bm25 / 4 + 0.3 * np.log1p(world.popularity[item]) + rng.normal(0, 0.8, rows)
    shown_rank = ranks_in_queries(production, query)
    clicked = PositionBased(eta).sample(np.array(CLICK_SHARES)[grade], shown_rank, query, rng)
    names = np.array(list(_NOUNS), object)
    titles = [
        " ".join([world.brands[b], *world.words[t[t != NO_WORD]]])
        for b, t in zip(world.brand, world.title, strict=True)
    ]
    queries = np.array([" ".join(world.words[t[t != NO_WORD]]) for t in log.text], object)
    return {
        "query_id": np.array([f"q{start + q:06d}" for q in range(len(log.text))], object)[query],
        "document_id": np.array([f"d{i:05d}" for i in range(ITEMS)], object)[item],
        "query_text": queries[query],
        "query_category": names[log.category][query],
        "device": np.array(DEVICES, object)[log.device][query],
        "user_segment": np.array(SEGMENTS, object)[log.segment][query],
        "query_length": log.length[query],
        "hour": log.hour[query],
        "title": np.array(titles, object)[item],
        "brand": world.brands[world.brand[item]],
        "category": names[world.category[item]],
        "price": world.price[item],
        "bm25": np.round(log.bm25, 4),
        "title_match": np.round(log.title_match, 4),
        "popularity": world.popularity[item],
        "rating": world.rating[item],
        "age_days": world.age_days[item],
        "in_stock": world.in_stock[item],
        "feed_version": np.full(rows, 3),
        "noise_normal": np.round(rng.normal(size=rows), 4),
        "noise_uniform": np.round(rng.random(rows), 4),
        "label": grade,
        "shown_rank": shown_rank,
        "clicked": clicked.astype(int),
    }


def _zipf(n: int, exponent: float) -> Array:
    weights = 1.0 / np.arange(1, n + 1) ** exponent
    return np.asarray(weights / weights.sum())


def _brand_names(rng: np.random.Generator) -> Array:
    syllables = [a + b for a in _ONSETS.split() for b in _NUCLEI.split()]
    names = [first + second + coda for first in syllables for second in syllables for coda in _CODAS.split()]
    return np.array([names[i].capitalize() for i in rng.choice(len(names), BRANDS, replace=False)], object)
