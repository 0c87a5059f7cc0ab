"""The data of a feature experiment: read into memory if they fit, else encoded into stores on disk."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ml4ir_losses import __version__
from ml4ir_losses.config.folds import SplitConfig
from ml4ir_losses.config.schema import Config, DataConfig
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.core.files import read_json, write_text
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.core.memory import available_memory, readable_size, size_in_bytes
from ml4ir_losses.data.findings import Finding, findings
from ml4ir_losses.data.own_files import OwnFiles
from ml4ir_losses.data.provenance import Description, describe
from ml4ir_losses.data.queries import LabelRange, Queries, Roles, make_queries
from ml4ir_losses.data.splitting import split_chunks, split_table
from ml4ir_losses.data.streaming.cache import Cache, FileFacts, cache_key, file_facts, remove
from ml4ir_losses.data.streaming.reading import COPIES, RowSource, read_within, with_blocks
from ml4ir_losses.data.streaming.seen import SeenIds
from ml4ir_losses.data.streaming.store import VERSION, QueryStore, new_store
from ml4ir_losses.data.table import Table
from ml4ir_losses.experiments.initial_model import load_initial_model
from ml4ir_losses.features.fitted import FittedInput
from ml4ir_losses.features.fitting import encode_rows, fit_inputs
from ml4ir_losses.features.kinds import load_fitted
from ml4ir_losses.features.streamed_fitting import fit_streamed
from ml4ir_losses.features.vocabulary import read_vocabulary
from ml4ir_losses.model.relevance_model import RelevanceModel

_WINDOW = 4  # a window of queries, and the one that is read meanwhile, take half of the memory for data
_CHECKED = 256 << 20  # bytes of queries that are checked for what silently ruins a result
_UNKNOWN = 2 << 30  # the memory for data where the free memory is unknown


class FeatureData(NamedTuple):
    """What is read, and fitted on the training split.

    Attributes:
        queries: the queries by split.
        inputs: the inputs, fitted on the training split.
        sources: the origin of the rows by split.
        start: the initial model.
        findings: what is wrong with the data.
        documents_per_second: the speed of reading, from the files to the inputs of the model, by split.
        own_files: given where the training split is that of one of several processes.
    """

    queries: dict[str, Queries | QueryStore]
    inputs: Sequence[FittedInput]
    sources: dict[str, dict[str, Any]]
    start: RelevanceModel | None
    findings: Sequence[Finding] = ()
    documents_per_second: Mapping[str, float] = {}
    own_files: OwnFiles | None = None


def read_features(config: Config, inputs: Sequence[FittedInput] | None = None) -> FeatureData:
    """Reads every split and fits the features on the training split.

    Args:
        config: the config.
        inputs: the inputs, where they are fitted already.

    Raises:
        ConfigError, DataError: one line for what is wrong.
    """
    splits, seconds = _open_splits(config, config.data.splits)
    start = load_initial_model(config.training.initial_model, RelevanceModel, "a RelevanceModel")
    if start is not None:
        inputs = start.all_fitted
    elif inputs is None:
        inputs, _ = _fit(config, splits["train"])
    roles = Roles.of(config.features, config.model)
    queries: dict[str, Queries | QueryStore] = {}
    sources, speeds = {}, {}
    for split, data in splits.items():
        started = time.perf_counter()
        training = split == "train"
        named = roles.for_metrics() if split == "test" else roles
        read = inputs if training else config.model.relevance_inputs(inputs)
        if isinstance(data, Table):
            named.check_columns(data)
            queries[split] = make_queries(data, named, encode_rows(read, data), training=training)
        else:
            queries[split] = store = data.encode(named, read, training)
            if store.fits_one_window:
                queries[split] = store.read([(0, len(store))])
            sources[split] = store.facts
        speeds[split] = queries[split].rows / (seconds[split] + time.perf_counter() - started)
    tables = {split: data for split, data in splits.items() if isinstance(data, Table)}
    sources |= {split: describe(table) for split, table in tables.items()}
    found = findings(_in_memory(queries), {fitted.name: fitted.columns for fitted in inputs}, roles, tables)
    return FeatureData(queries, inputs, {split: sources[split] for split in splits}, start, found, speeds)


def _in_memory(queries: Mapping[str, Queries | QueryStore]) -> dict[str, Queries]:
    """The queries; a sample of those that are on disk."""
    found = {}
    for split, data in queries.items():
        found[split] = data if isinstance(data, Queries) else data.sample(_CHECKED)
        if len(found[split]) < len(data):
            shown = f"{len(found[split]):,} of {len(data):,}"
            LOGGER.info("%s: checks of what ruins a result look at a sample of %s queries", split, shown)
    return found


def fit_training_split(config: Config) -> tuple[Sequence[FittedInput], int]:
    """The inputs fitted on the training split, and its number of queries."""
    return _fit(config, _open_splits(config, ["train"])[0]["train"])


def _fit(config: Config, train: Table | _Streamed) -> tuple[Sequence[FittedInput], int]:
    if isinstance(train, _Streamed):
        return train.fit(config)
    return fit_inputs(config.features, train), len(set(train.strings(config.features.query_id)))


def memory_for_data(data: DataConfig) -> int:
    """The bytes that data may take: `data.memory`, or half of the free memory."""
    if data.memory is not None:
        return size_in_bytes(data.memory)
    free = available_memory()
    return _UNKNOWN if free is None else free // 2


def with_data(config: Config, data: Any, use: Callable[[Iterator[Table]], Any]) -> Any:
    """What `use` gives for tables of whole queries: one for data that fit into memory, else several.

    `use` may be called again from the start: see `with_blocks`.
    """
    limit = memory_for_data(config.data)
    source = RowSource.of(data, config.data.format, config.data.options, config.features.list_columns)
    rows = read_within(source, limit)
    if isinstance(rows, Table):
        return use(iter([rows]))
    LOGGER.info("%s", _too_large("the data", limit))
    cache = Cache(config.data.cache)
    return with_blocks(source, rows, config.features.query_id, limit, use, cache.folder)


def _too_large(name: str, limit: float) -> str:
    return f"{name}: the rows take more than data.memory ({readable_size(limit)}), and are streamed"


def _open_splits(config: Config, names: Sequence[str]) -> tuple[dict[str, Table | _Streamed], dict[str, float]]:
    """The splits, each in memory as far as `data.memory` goes, and the seconds that this took."""
    data, limit = config.data, memory_for_data(config.data)
    left: float = limit
    found: dict[str, Table | _Streamed] = {}
    seconds = {}
    for split in names if data.path is None else ["train"]:
        started = time.perf_counter()
        found[split] = rows = _open(config, split, left, limit)
        left -= COPIES * rows.nbytes if isinstance(rows, Table) else 0
        seconds[split] = time.perf_counter() - started
    if data.split is None:
        return found, seconds
    whole, query_id = found["train"], config.features.query_id
    if isinstance(whole, Table):
        tables = split_table(whole, query_id, data.split, names)
        return {**tables}, {split: seconds["train"] * len(table) / len(whole) for split, table in tables.items()}
    parts = split_chunks(whole.shown("reading the queries"), query_id, data.split)
    return {name: whole.part(name, parts, query_id, data.split) for name in names}, dict.fromkeys(names, 0.0)


def _open(config: Config, split: str, left: float, limit: float) -> Table | _Streamed:
    """A split in memory if it takes at most `left` bytes."""
    data = config.data
    source = RowSource(data.paths(split), data.format, data.options, config.features.list_columns)
    facts = file_facts(source.paths, source.options)
    rows = read_within(source, left)
    if isinstance(rows, Table):
        return rows
    cache = Cache(False if facts is None else data.cache)
    LOGGER.info("%s; they are encoded in %s", _too_large(split, limit), cache.folder)
    return _Streamed(split, source, rows, facts, cache, limit)


@dataclass
class _Streamed:
    """A split that does not fit into memory.

    Attributes:
        split: its name.
        source: its files.
        started: the chunks of the files, the first of which were read before; they serve the first pass.
        facts: what the files looked like before they were read; None if that is not known.
        cache: where its store is.
        limit: bytes of memory for data.
        selection: which of the rows belong to the split, in JSON's types; None: all.
    """

    split: str
    source: RowSource
    started: Iterator[Table] | None
    facts: FileFacts | None
    cache: Cache
    limit: float
    selection: Any = None

    def part(self, split: str, parts: Mapping[str, str], query_id: str, how: SplitConfig) -> _Streamed:
        """The rows of one of the splits of these files, given the split of each query."""

        def keep(table: Table) -> Table:
            return table.take(np.flatnonzero([parts[query] == split for query in table.strings(query_id)]))

        selection = [split, how.model_dump(mode="json"), query_id]
        return replace(self, split=split, source=replace(self.source, keep=keep), started=None, selection=selection)

    def chunks(self) -> Iterator[Table]:
        """The rows, with those that were read before."""
        started, self.started = self.started, None
        return self.source.chunks() if started is None else started

    def shown(self, what: str) -> Iterator[Table]:
        """The chunks, with a progress bar."""
        return self.source.with_progress(self.chunks(), f"{self.split}: {what}")

    def key(self, *parts: Any) -> str:
        """The key of what is made from the files."""
        source = self.source
        read = self.facts, source.format, source.options, source.lists, self.selection
        return cache_key(VERSION, __version__, *read, *parts)

    def fit(self, config: Config) -> tuple[list[FittedInput], int]:
        """The fitted inputs and the number of queries; those of an earlier run on the same files are used again."""
        given = [read_vocabulary(file) for file in config.features.vocabulary_files]
        path = self.cache.path(self.key(config.features.model_dump(mode="json"), given) + ".json")
        if self.facts is not None and path.is_file():
            known = read_json(path)
            return load_fitted(known["inputs"]), known["queries"]
        queries = SeenIds()

        def chunks() -> Iterator[Table]:
            for chunk in self.shown("fitting the features"):
                chunk.require(config.features.query_id, "features.query_id")
                queries.add(np.unique(chunk.strings(config.features.query_id)))
                yield chunk

        inputs = fit_streamed(config.features, chunks, self.limit)
        self._check_unchanged()
        fitted = [one.model_dump(mode="json") for one in inputs]
        write_text(path, json.dumps({"inputs": fitted, "queries": len(queries)}))
        return inputs, len(queries)

    def encode(self, roles: Roles, inputs: Sequence[FittedInput], training: bool) -> QueryStore:
        """The encoded queries; those of an earlier run are used again.

        Raises:
            DataError: for rows that cannot be used, files that changed meanwhile, and a full disk.
        """
        path = self.cache.path(self.key(asdict(roles), [fitted.model_dump() for fitted in inputs], training))
        if path.exists():
            try:
                store = self._opened(path)
                LOGGER.info("%s: the encoded data of an earlier run are in %s", self.split, path)
                return store
            except DataError:
                remove(path)
        write = partial(self._write, path, roles, inputs, training)
        limit, folder = self.limit, self.cache.folder
        with_blocks(self.source, self.chunks(), roles.query_id, limit, write, folder)
        store = self._opened(path)
        size = readable_size(sum(file.stat().st_size for file in path.iterdir()))
        advice = f"kept in {path} for 30 days; data.cache: false keeps nothing" if self.cache.kept else "temporary"
        LOGGER.info("%s: %s encoded queries take %s on disk (%s)", self.split, f"{len(store):,}", size, advice)
        return store

    def _opened(self, path: Any) -> QueryStore:
        return QueryStore(path, int(self.limit) // _WINDOW, self.cache)

    def _write(
        self, path: Any, roles: Roles, inputs: Sequence[FittedInput], training: bool, blocks: Iterator[Table]
    ) -> None:
        description, labels = Description(), LabelRange(roles)
        with new_store(path, document_ids=roles.document_id is not None) as writer:
            for block in self.source.with_progress(blocks, f"{self.split}: encoding"):
                roles.check_columns(block)
                queries = make_queries(block, roles, encode_rows(inputs, block))
                labels.add(queries)
                description.add(block)
                writer.append(queries)
            if training:
                labels.check(self.source.paths[0])
            self._check_unchanged()
            writer.finish(description.result())

    def _check_unchanged(self) -> None:
        if self.facts is None:
            return
        now: Mapping[str, Any] = file_facts(self.source.paths, self.source.options) or {}
        changed = [path for path in self.facts if now.get(path) != self.facts[path]]
        if changed or now.keys() != self.facts.keys():
            name = (changed or sorted(now.keys() - self.facts.keys()))[0]
            raise DataError(f"{name}: the file changed while it was read; start again when it is complete.")
