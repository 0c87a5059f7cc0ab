"""One registry for everything that a config names by its key: losses, metrics, architectures, readers."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any, TypeVar

from ml4ir_losses.core.errors import UserError, did_you_mean, unknown_name
from ml4ir_losses.core.parameters import check_values, json_schema

T = TypeVar("T", bound=Callable[..., Any])


@dataclass(frozen=True)
class Entry:
    """What the registry knows of one key."""

    key: str
    target: Callable[..., Any]
    aliases: tuple[str, ...] = ()
    loss_type: str = ""
    hidden: tuple[str, ...] = ()
    listed: bool = True

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters that a config may set, with their defaults (`inspect.Parameter.empty`: required)."""
        signature = inspect.signature(self.target)
        return {
            name: parameter.default
            for name, parameter in signature.parameters.items()
            if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
            and name not in ("self", *self.hidden)
        }

    @property
    def open_ended(self) -> bool:
        """True for a target that takes any keyword."""
        return any(p.kind is p.VAR_KEYWORD for p in inspect.signature(self.target).parameters.values())

    @property
    def doc(self) -> str:
        """The full docstring."""
        return inspect.getdoc(self.target) or ""

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return self.doc.partition("\n")[0]

    def check_parameters(self, kind: str, params: Mapping[str, Any]) -> None:
        """Raises `UserError` for a parameter that the target does not have, lacks, or does not allow to be so."""
        known = self.parameters
        for name in params:
            if name not in known and not self.open_ended:
                raise UserError(
                    f"{kind} {self.key!r} has no parameter {name!r}.{did_you_mean(name, known)} "
                    f"It takes: {', '.join(known) or 'none'}."
                )
        missing = [n for n, default in known.items() if default is inspect.Parameter.empty and n not in params]
        if missing:
            raise UserError(f"{kind} {self.key!r} needs the parameter {missing[0]!r}.")
        check_values(self.target, params)

    def json_schema(self) -> dict[str, Any]:
        """The JSON schema of the parameters: types, limits, defaults and descriptions."""
        return json_schema(self.target, ("self", *self.hidden))


@dataclass
class Registry:
    """The keys of one kind; its modules and entry points are imported at the first look-up."""

    kind: str
    modules: tuple[str, ...]
    hidden: tuple[str, ...] = ()
    entry_point_group: str = ""
    _entries: dict[str, Entry] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)
    _loaded: bool = False

    def register(self, key: str, *, aliases: tuple[str, ...] = (), listed: bool = True) -> Callable[[T], T]:
        """Decorator that puts a class or function under `key`; `UserError` when a name is taken.

        What is not `listed` can be looked up by its key, and is left out where all entries are shown.
        """

        def decorate(target: T) -> T:
            entry = Entry(key, target, aliases, getattr(target, "loss_type", ""), self.hidden, listed)
            names = (key, *aliases)
            for name in names:
                owner = self._names.get(name)
                if owner is not None and not _same(self._entries[owner].target, target):
                    raise UserError(f"The {self.kind} key {name!r} is already taken by {owner!r}.")
            self._names.update(dict.fromkeys(names, key))
            self._entries[key] = entry
            if isinstance(target, type):
                target.key = key  # type: ignore[attr-defined]
            return target

        return decorate

    def __getitem__(self, name: str) -> Entry:
        if not isinstance(name, str) or name not in self._names:  # what is registered already needs no import
            self._load()
        if not isinstance(name, str) or name not in self._names:
            raise UserError(unknown_name(self.kind, name, sorted(entry.key for entry in self)))
        return self._entries[self._names[name]]

    def __contains__(self, name: object) -> bool:
        self._load()
        return name in self._names

    def __iter__(self) -> Iterator[Entry]:
        self._load()
        return iter([entry for entry in self._entries.values() if entry.listed])

    def create(self, spec: str | Mapping[str, Any], hidden: Mapping[str, Any] | None = None, **params: Any) -> Any:
        """Calls the target of `"key"` or `{"key": ..., <params>}`; unknown keys and parameters are `UserError`s.

        `hidden` holds arguments that a config cannot set.
        """
        key, params = split_spec(self.kind, spec, params)
        entry = self[key]
        entry.check_parameters(self.kind, params)
        return entry.target(**params, **(hidden or {}))

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        for module in self.modules:
            importlib.import_module(module)
        if self.entry_point_group:
            for point in entry_points(group=self.entry_point_group):
                target = point.load()
                if point.name not in self._names and callable(target):
                    self.register(point.name)(target)


def split_spec(
    kind: str, spec: str | Mapping[str, Any], params: Mapping[str, Any] | None = None
) -> tuple[str, dict[str, Any]]:
    """Splits `"key"` or `{"key": ..., <params>}` into key and parameters."""
    if isinstance(spec, str):
        return spec, dict(params or {})
    if not isinstance(spec, Mapping) or "key" not in spec:
        raise UserError(f"A {kind} is given as a key or as {{key: ..., <parameters>}}. Received: {spec!r}.")
    merged = {name: value for name, value in spec.items() if name != "key"}
    merged.update(params or {})
    return spec["key"], merged


def _same(a: Any, b: Any) -> bool:
    """True for one object seen twice, also after its module was imported anew."""
    return a is b or (a.__module__, a.__qualname__) == (b.__module__, b.__qualname__)


LOSSES = Registry(
    "loss",
    (
        "ml4ir_losses.losses.pointwise.single_logit",
        "ml4ir_losses.losses.pointwise.multiple_logits",
        "ml4ir_losses.losses.classification",
        "ml4ir_losses.losses.pairwise.score_differences",
        "ml4ir_losses.losses.pairwise.lambda_loss",
        "ml4ir_losses.losses.pairwise.yeti_rank",
        "ml4ir_losses.losses.pairwise.circle",
        "ml4ir_losses.losses.pairwise.margin_mse",
        "ml4ir_losses.losses.pairwise.prob_margin_ranking",
        "ml4ir_losses.losses.listwise.softmax",
        "ml4ir_losses.losses.listwise.softmax_variants",
        "ml4ir_losses.losses.listwise.surrogates",
        "ml4ir_losses.losses.listwise.neural_sort",
        "ml4ir_losses.losses.listwise.distillation",
        "ml4ir_losses.losses.listwise.candidates",
        "ml4ir_losses.losses.embedding.pairs",
        "ml4ir_losses.losses.embedding.triplets",
        "ml4ir_losses.losses.embedding.distillation",
        "ml4ir_losses.losses.embedding.heads",
        "ml4ir_losses.losses.embedding.in_batch",
        "ml4ir_losses.losses.embedding.guided",
        "ml4ir_losses.losses.embedding.metric_learning",
        "ml4ir_losses.losses.embedding.wrappers",
        "ml4ir_losses.losses.embedding.memory",
        "ml4ir_losses.losses.embedding.sparse",
        "ml4ir_losses.losses.embedding.denoising",
    ),
    hidden=("loss_key", "scoring_type"),
    entry_point_group="ml4ir_losses.losses",
)
METRICS = Registry(
    "metric",
    ("ml4ir_losses.metrics.functional",),
    hidden=("labels", "scores", "mask", "item_weight", "rank_fn"),
    entry_point_group="ml4ir_losses.metrics",
)
LAMBDA_WEIGHTS = Registry("lambda weight", ("ml4ir_losses.losses.lambda_weights",))
WEIGHTING_SCHEMES = Registry("weighting scheme", ("ml4ir_losses.losses.pairwise.lambda_loss",))
ARCHITECTURES = Registry(
    "architecture",
    ("ml4ir_losses.model.architectures", "ml4ir_losses.model.text_architectures"),
    hidden=("name", "dtype", "outputs", "vocabulary_size", "every_layer", "tie", "max_length"),
)
ENCODERS = Registry(
    "encoder",
    ("ml4ir_losses.model.text_encoders", "ml4ir_losses.model.hub_encoder"),
    hidden=("dtype", "vocabulary_size"),
)
READERS = Registry("data format", ("ml4ir_losses.data.readers", "ml4ir_losses.data.synthetic"), hidden=("path",))

register_loss = LOSSES.register
register_metric = METRICS.register
register_lambda_weight = LAMBDA_WEIGHTS.register
register_weighting_scheme = WEIGHTING_SCHEMES.register
register_architecture = ARCHITECTURES.register
register_encoder = ENCODERS.register
register_reader = READERS.register
