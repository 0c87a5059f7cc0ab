"""One registry for everything that has a key: losses, metrics, architectures, readers, commands, ...

A registry finds what this package registers in the modules below, and what other packages add by entry points
of the group `ml4ir_losses.<plural>`, such as `ml4ir_losses.losses` or `ml4ir_losses.lambda_weights`.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from ml4ir_losses.core.errors import UserError, did_you_mean, unknown_name
from ml4ir_losses.core.log import LOGGER

T = TypeVar("T", bound=Callable[..., Any])


@dataclass(frozen=True)
class Entry:
    """A registered class or function and its metadata."""

    key: str
    target: Callable[..., Any]
    aliases: tuple[str, ...] = ()
    loss_type: str = ""
    hidden: tuple[str, ...] = ()
    listed: bool = True
    traits: Mapping[str, Any] = field(default_factory=dict)

    def trait(self, name: str, default: Any = None) -> Any:
        """The trait given at registration, else the target's attribute of that name, else the default."""
        return self.traits[name] if name in self.traits else getattr(self.target, name, default)

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
    def required(self) -> list[str]:
        """The parameters without a default."""
        return [name for name, default in self.parameters.items() if default is inspect.Parameter.empty]

    @property
    def open_ended(self) -> bool:
        """True for a target that takes any keyword."""
        return any(p.kind is p.VAR_KEYWORD for p in inspect.signature(self.target).parameters.values())

    def takes(self, name: str) -> bool:
        """True where the target can be called with the keyword `name`."""
        return self.open_ended or name in inspect.signature(self.target).parameters

    @property
    def doc(self) -> str:
        """The full docstring."""
        return inspect.getdoc(self.target) or ""

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return self.doc.partition("\n")[0]

    def check_parameters(self, kind: str, params: Mapping[str, Any]) -> None:
        """Raises `UserError` for a parameter that is unknown, missing, or invalid."""
        known = self.parameters
        for name in params:
            if name not in known and not self.open_ended:
                raise UserError(
                    f"{kind} {self.key!r} has no parameter {name!r}.{did_you_mean(name, known)} "
                    f"It takes: {', '.join(known) or 'none'}."
                )
        missing = [name for name in self.required if name not in params]
        if missing:
            raise UserError(f"{kind} {self.key!r} needs the parameter {missing[0]!r}.")
        from ml4ir_losses.core.parameters import check_values  # imports pydantic, which `--help` does not need

        check_values(self.target, params)

    def json_schema(self) -> dict[str, Any]:
        """The JSON schema of the parameters: types, limits, defaults and descriptions."""
        from ml4ir_losses.core.parameters import json_schema

        return json_schema(self.target, ("self", *self.hidden))


@dataclass
class Registry:
    """The keys of one kind; modules and entry points are imported when an unregistered key is looked up.

    Args:
        kind: the name of an entry in messages.
        plural: the name of the catalogue's command, and of the group of entry points.
        sources: modules that register entries; for a package, all its modules.
        hidden: parameters of a target that a config cannot set.
        traits: names of further metadata, given at registration or as attributes of the target.
    """

    kind: str
    plural: str = ""
    sources: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    traits: tuple[str, ...] = ()
    _entries: dict[str, Entry] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)
    _entry_points: dict[str, EntryPoint] = field(default_factory=dict)
    _searched: bool = False

    @property
    def group(self) -> str:
        """The group of entry points."""
        return f"ml4ir_losses.{self.plural.replace('-', '_')}"

    def register(
        self, key: str, *, aliases: tuple[str, ...] = (), listed: bool = True, **traits: Any
    ) -> Callable[[T], T]:
        """Decorator that puts a class or function under `key`; `UserError` when a name is taken.

        Entries that are not `listed` can be looked up by key but are not shown in lists.
        """
        for name in traits:
            if name not in self.traits:
                raise UserError(
                    f"The registration of a {self.kind} takes no {name!r}: {unknown_name('trait', name, self.traits)}"
                )

        def decorate(target: T) -> T:
            entry = Entry(key, target, aliases, getattr(target, "loss_type", ""), self.hidden, listed, traits)
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
            self._search()
        if isinstance(name, str) and name not in self._names and name in self._entry_points:
            self._load(name)
        if not isinstance(name, str) or name not in self._names:
            known = {entry.key for entry in self._entries.values() if entry.listed}
            raise UserError(unknown_name(self.kind, name, sorted({*known, *self._entry_points})))
        return self._entries[self._names[name]]

    def __contains__(self, name: object) -> bool:
        self._search()
        return name in self._names or name in self._entry_points

    def __iter__(self) -> Iterator[Entry]:
        """All listed entries; an entry point that cannot be loaded is left out with a warning."""
        self._search()
        for name in list(self._entry_points):
            if name not in self._names:
                try:
                    self._load(name)
                except UserError as error:
                    LOGGER.warning("%s It is left out.", error)
        return iter([entry for entry in self._entries.values() if entry.listed])

    def own(self) -> list[Entry]:
        """The listed entries of this package, in the order of its modules and of the definitions in them."""
        places = {name: place for place, name in enumerate(self._search())}
        entries = [e for e in self._entries.values() if e.listed and e.target.__module__ in places]

        def place(entry: Entry) -> tuple[int, int]:
            module = entry.target.__module__
            return places[module], list(vars(sys.modules[module])).index(entry.target.__name__)

        return sorted(entries, key=place)

    def create(self, spec: str | Mapping[str, Any], hidden: Mapping[str, Any] | None = None, **params: Any) -> Any:
        """Calls the target of `"key"` or `{"key": ..., <params>}`; unknown keys and parameters are `UserError`s.

        `hidden` holds arguments that a config cannot set; a target gets those that it names.
        """
        key, params = split_spec(self.kind, spec, params)
        entry = self[key]
        entry.check_parameters(self.kind, params)
        return entry.target(**params, **{n: v for n, v in (hidden or {}).items() if entry.takes(n)})

    def _search(self) -> list[str]:
        """Imports the modules of this package and looks for entry points; the names of the modules."""
        modules = [name for source in self.sources for name in _modules(source)]
        if not self._searched:
            self._searched = True
            for name in modules:
                importlib.import_module(name)
            for point in entry_points(group=self.group):
                if point.name in self._names or self._entry_points.setdefault(point.name, point) != point:
                    LOGGER.warning("%s is left out: another %s has its name.", self._described(point), self.kind)
        return modules

    def _load(self, name: str) -> None:
        """Loads the entry point of a name; any failure is raised as `UserError`."""
        point = self._entry_points[name]
        try:
            target = point.load()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise UserError(f"{self._described(point)} cannot be loaded ({reason}).") from error
        if name in self._names:  # its module has the decorator
            return
        if not callable(target):
            raise UserError(f"{self._described(point)} is neither a class nor a function: {point.value}.")
        self.register(name)(target)

    def _described(self, point: EntryPoint) -> str:
        package = point.dist.name if point.dist else "unknown"
        return f"The {self.kind} {point.name!r} of the package {package!r}"


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
    """True for the same object, also after its module was reloaded."""
    return a is b or (a.__module__, a.__qualname__) == (b.__module__, b.__qualname__)


def _modules(source: str) -> list[str]:
    """The names of a module, or of a package and all its modules."""
    path = getattr(importlib.import_module(source), "__path__", None)
    if path is None:
        return [source]
    return [source, *sorted(module.name for module in pkgutil.walk_packages(path, f"{source}."))]


LOSSES = Registry(
    "loss",
    "losses",
    (
        "ml4ir_losses.losses.factory",
        "ml4ir_losses.losses.pointwise",
        "ml4ir_losses.losses.classification",
        "ml4ir_losses.losses.pairwise",
        "ml4ir_losses.losses.listwise",
        "ml4ir_losses.losses.embedding",
    ),
    hidden=("loss_key", "scoring_type"),
)
METRICS = Registry(
    "metric",
    "metrics",
    ("ml4ir_losses.metrics.ranking",),
    hidden=("labels", "scores", "mask", "item_weight", "rank_fn"),
    traits=("lower_is_better", "subtopics"),
)
LAMBDA_WEIGHTS = Registry("lambda weight", "lambda-weights", ("ml4ir_losses.losses.lambda_weights",))
WEIGHTING_SCHEMES = Registry("weighting scheme", "weighting-schemes", ("ml4ir_losses.losses.weighting_schemes",))
ARCHITECTURES = Registry(
    "architecture",
    "architectures",
    ("ml4ir_losses.model.architectures",),
    hidden=(
        *("name", "dtype", "features", "outputs", "vocabulary_size", "every_layer", "reconstructs", "tie"),
        "max_length",
    ),
    traits=("reads", "model_class", "heads", "per_document"),
)
ENCODERS = Registry(
    "encoder",
    "encoders",
    ("ml4ir_losses.model.encoders",),
    hidden=("dtype", "vocabulary_size", "reconstructs"),
    traits=("make_tokenizer",),
)
READERS = Registry(
    "data format", "readers", ("ml4ir_losses.data.readers",), hidden=("path",), traits=("endings", "untyped")
)
WRITERS = Registry(
    "output format", "writers", ("ml4ir_losses.data.writers",), hidden=("path", "roles"), traits=("endings",)
)
TRANSFORMS = Registry("transform", "transforms", ("ml4ir_losses.features.transforms",))
BATCHINGS = Registry("batching", "batchings", ("ml4ir_losses.data.batchings",), hidden=("rows", "batch_size", "rng"))
POSITION_BIASES = Registry(
    "position bias", "position-biases", ("ml4ir_losses.model.position_biases",), hidden=("outputs", "bias_inputs")
)
CLICK_MODELS = Registry("click model", "click-models", ("ml4ir_losses.data.clicks.models",))
COMMANDS = Registry("command", "commands", ("ml4ir_losses.cli.commands",), traits=("panel",))

REGISTRIES = (
    LOSSES,
    METRICS,
    LAMBDA_WEIGHTS,
    WEIGHTING_SCHEMES,
    ARCHITECTURES,
    ENCODERS,
    READERS,
    TRANSFORMS,
    BATCHINGS,
    POSITION_BIASES,
    CLICK_MODELS,
)
"""What a config names by key."""

register_loss = LOSSES.register
register_metric = METRICS.register
register_lambda_weight = LAMBDA_WEIGHTS.register
register_weighting_scheme = WEIGHTING_SCHEMES.register
register_architecture = ARCHITECTURES.register
register_encoder = ENCODERS.register
register_reader = READERS.register
register_writer = WRITERS.register
register_transform = TRANSFORMS.register
register_batching = BATCHINGS.register
register_position_bias = POSITION_BIASES.register
register_click_model = CLICK_MODELS.register
register_command = COMMANDS.register
