"""Classes under a peer library's names: the peer's parameters and defaults, on top of a class of ours."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar, Self, TypeVar, cast

import keras

from ml4ir_losses.core.errors import UserError, did_you_mean
from ml4ir_losses.core.parameters import check_values
from ml4ir_losses.losses.factory import get_loss
from ml4ir_losses.losses.keras_loss import RelevanceLoss
from ml4ir_losses.losses.serialization import from_config, to_config

Init = TypeVar("Init", bound=Callable[..., None])


def peer_signature(declared: Init) -> Init:
    """Decorator of an `__init__` that only declares a signature: the arguments are checked, translated and passed on.

    Positional parameters are the peer's, in its order and with its defaults. Keyword-only parameters are those that
    the peer lacks, with defaults that give the peer's numbers.
    """

    @functools.wraps(declared)
    def __init__(self: PeerClass, *args: Any, **kwargs: Any) -> None:
        self._initialise(args, kwargs)

    return cast(Init, __init__)


class PeerClass:
    """What the classes under a peer's names share. It comes before our class among the bases.

    A class under a peer's name has our `key`, as in `class SoftmaxLoss(PeerLoss, key="softmax_cross_entropy")`, and an
    `__init__` that `peer_signature` decorates, or inherits one with other `defaults` (by parameter). The attributes
    below are appended to its docstring.

    Attributes:
        package: the package under which the class is registered with Keras; empty: it is not registered.
        renamed: our names of the peer's parameters, where they differ.
        no_effect: parameters that are accepted and ignored.
        only: parameters that may have a single value here, with that value after translation.
        when_none: what the value None stands for, by parameter.
        translate: functions from the peer's values to ours, by parameter. Our values stay as they are.
        notes: a remark on a parameter, for the docstring and for the message that refuses its value.
    """

    key: ClassVar[str] = ""
    package: ClassVar[str] = ""
    renamed: ClassVar[Mapping[str, str]] = {}
    no_effect: ClassVar[Collection[str]] = ()
    only: ClassVar[Mapping[str, Any]] = {}
    when_none: ClassVar[Mapping[str, Any]] = {}
    translate: ClassVar[Mapping[str, Callable[[Any], Any]]] = {}
    notes: ClassVar[Mapping[str, str]] = {}
    peer_name: ClassVar[str] = ""
    peer_parameters: ClassVar[Mapping[str, inspect.Parameter]] = {}
    _arguments: Mapping[str, Any]  # those that have an effect: our values by the peer's names

    def __init_subclass__(cls, key: str = "", defaults: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _, *parameters = inspect.signature(cls.__init__).parameters.values()
        changed = defaults or {}
        parameters = [p.replace(default=changed.get(p.name, p.default)) for p in parameters]
        cls.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        if not key:
            return  # an abstract base, or a user's subclass
        cls.key = key
        cls.peer_name = cls.__name__
        cls.peer_parameters = {parameter.name: parameter for parameter in parameters}
        cls.__doc__ = f"{inspect.cleandoc(cls.__doc__ or '')} {cls._describe()}"
        if cls.package:
            keras.saving.register_keras_serializable(cls.package)(cls)

    @classmethod
    def _describe(cls) -> str:
        """Our key and the parameters that differ, for the docstring."""
        lines = [f"Our key is `{cls.key}`."]
        described = {name: cls._describe_parameter(name) for name in cls.peer_parameters}
        if any(described.values()):
            lines += ["", "Args:", *(f"    {name}: {text}." for name, text in described.items() if text)]
        ours = [p for p in cls.peer_parameters.values() if p.kind is p.KEYWORD_ONLY]
        if ours:
            lines += ["", f"Not in the peer: {', '.join(f'{p.name}={p.default!r}' for p in ours)}."]
        return "\n".join(lines)

    @classmethod
    def _describe_parameter(cls, name: str) -> str:
        texts = [
            f"must be {cls.only[name]!r}" if name in cls.only else "",
            f"here `{cls.renamed[name]}`" if name in cls.renamed and name not in cls.only else "",
            "no effect" if name in cls.no_effect else "",
            f"None is {cls.when_none[name]}" if name in cls.when_none else "",
            cls.notes.get(name, ""),
        ]
        return "; ".join(filter(None, texts))

    def _initialise(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        arguments = {}
        for name, value in self._bind(args, kwargs).items():
            ours = self._translated(name, from_config(value))
            if name in self.only:
                if ours != self.only[name]:
                    note = f" ({self.notes[name]})" if name in self.notes else ""
                    raise UserError(
                        f"`{name}` of {self.peer_name} must be {self.only[name]!r}{note}. Received: {name}={value!r}."
                    )
            elif name not in self.no_effect:
                arguments[name] = ours
        object.__setattr__(self, "_arguments", arguments)  # also for frozen dataclasses
        self._build({self.renamed.get(name, name): value for name, value in arguments.items()})

    def _build(self, params: dict[str, Any]) -> None:
        """Initialises our class with our parameters."""
        super().__init__(**params)

    def _bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The value of every parameter, from the arguments and the defaults."""
        known = self.peer_parameters
        positional = [p.name for p in known.values() if p.kind is not p.KEYWORD_ONLY]
        if len(args) > len(positional):
            raise UserError(f"{self.peer_name} takes {len(positional)} positional arguments. Received: {len(args)}.")
        values = dict(zip(positional, args, strict=False))
        for name, value in kwargs.items():
            if name not in known:
                hint = did_you_mean(name, known)
                raise UserError(f"{self.peer_name} has no parameter {name!r}.{hint} It takes: {', '.join(known)}.")
            if name in values:
                raise UserError(f"{self.peer_name} got `{name}` twice, by position and by name.")
            values[name] = value
        for name, parameter in known.items():
            if name not in values and parameter.default is parameter.empty:
                raise UserError(f"{self.peer_name} needs the parameter {name!r}.")
        return {name: values.get(name, parameter.default) for name, parameter in known.items()}

    def _translated(self, name: str, value: Any) -> Any:
        value = self.when_none.get(name) if value is None else value
        return self.translate[name](value) if name in self.translate else value

    def __repr__(self) -> str:
        """The class and the arguments that are not the defaults."""
        defaults = {name: self._translated(name, p.default) for name, p in self.peer_parameters.items()}
        given = ", ".join(f"{name}={value!r}" for name, value in self._arguments.items() if value != defaults[name])
        return f"{type(self).__name__}({given})"


class PeerKerasClass(PeerClass):
    """A Keras loss or metric under a peer's name, whose config holds the peer's parameters that have an effect."""

    def get_config(self) -> dict[str, Any]:
        """The arguments: `from_config` builds the same object."""
        return {name: _as_config(value) for name, value in self._arguments.items()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The object that `get_config` described."""
        return cls(**config)


class PeerLoss(PeerKerasClass, RelevanceLoss):
    """A Keras loss under a peer's name, over the loss of `key`, which is its attribute `loss`."""

    def _build(self, params: dict[str, Any]) -> None:
        outer: dict[str, Any] = {
            name: params.pop(name) for name in ("reduction", "name", "from_logits") if name in params
        }
        super()._build({"loss": get_loss(self.key, **params), **outer})


class PeerObject(PeerClass):
    """An object of ours under a peer's name, whose config is ours: `get_config` gives our key and our parameters."""

    def _build(self, params: dict[str, Any]) -> None:
        ours = next(base for base in type(self).__mro__ if not issubclass(base, PeerClass))
        check_values(ours, params)  # it checks itself by the signature, which is the peer's here
        super()._build(params)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The object that `get_config` described, by our names or the peer's."""
        names = {name: cls.renamed.get(name, name) for name in cls.peer_parameters}
        by_peer = {name: config[name] for name in names if name in config}
        return cls(**{name: config[ours] for name, ours in names.items() if ours in config} | by_peer)


def _as_config(value: Any) -> Any:
    """A parameter as plain data; an object of a registered class as Keras writes it, so that its class comes back."""
    if isinstance(value, PeerObject) and value.package:
        return keras.saving.serialize_keras_object(value)
    return to_config(value)


def function_name(functions: Mapping[str, Any]) -> Callable[[Any], Any]:
    """Turns the peer's function, or its name, into the value of ours; another function stays as it is."""

    def translated(value: Any) -> Any:
        name = value if isinstance(value, str) else getattr(value, "__name__", "")
        return functions.get(name, value)

    return translated
