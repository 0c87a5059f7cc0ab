"""A name of a peer library, its parameters and defaults, and what they are called here."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ml4ir_losses.core.errors import UserError, did_you_mean

REQUIRED = inspect.Parameter.empty
Make = Callable[[str, dict[str, Any]], Any]


@dataclass(frozen=True)
class Facade:
    """Calls `make(key, parameters)` with a peer's parameters under our names.

    Args:
        name: the peer's name.
        key: our key.
        make: makes the object.
        parameters: the peer's parameters and defaults, in its order; `REQUIRED` where there is none.
        ours: keyword-only parameters that the peer lacks, with the values that give its numbers.
        renamed: our names of parameters; None: accepted, without effect on the value.
        none: what the peer's default None stands for, by parameter.
        translate: our values of a parameter's values, by the peer's name of the parameter.
        only: parameters with the one value, after translation, that can be had here.
        notes: what else is said of a parameter, in the docstring and where its value is refused.
        doc: what is said before the list of parameters.
    """

    name: str
    key: str
    make: Make
    parameters: Mapping[str, Any]
    ours: Mapping[str, Any] = field(default_factory=dict)
    renamed: Mapping[str, str | None] = field(default_factory=dict)
    only: Mapping[str, Any] = field(default_factory=dict)
    none: Mapping[str, Any] = field(default_factory=dict)
    translate: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    doc: str = ""

    def __post_init__(self) -> None:
        kinds = inspect.Parameter
        parameters = [kinds(n, kinds.POSITIONAL_OR_KEYWORD, default=d) for n, d in self.parameters.items()]
        parameters += [kinds(n, kinds.KEYWORD_ONLY, default=d) for n, d in self.ours.items()]
        lines = [f"{self.doc} Our key is `{self.key}`."]
        said = {n: self._said(n) for n in self.parameters}
        if any(said.values()):
            lines += ["", "Args:", *(f"    {n}: {text}." for n, text in said.items() if text)]
        if self.ours:
            lines += ["", f"Not in the peer: {', '.join(f'{n}={v!r}' for n, v in self.ours.items())}."]
        for attribute, value in (
            ("__signature__", inspect.Signature(parameters)),
            ("__name__", self.name),
            ("__qualname__", self.name),
            ("__doc__", "\n".join(lines)),
        ):
            object.__setattr__(self, attribute, value)

    def _said(self, name: str) -> str:
        new = self.renamed.get(name, name)
        said = [
            f"must be {self.only[name]!r}" if name in self.only else "",
            "" if new == name or name in self.only else f"`{new}`" if new else "no effect",
            f"None is {self.none[name]}" if name in self.none else "",
            self.notes.get(name, ""),
        ]
        return "; ".join(filter(None, said))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        known = [*self.parameters, *self.ours]
        if len(args) > len(self.parameters):
            raise UserError(f"{self.name} takes {len(self.parameters)} positional arguments. Received: {len(args)}.")
        given = dict(zip(self.parameters, args, strict=False))
        for name in kwargs:
            if name not in known:
                hint = did_you_mean(name, known)
                raise UserError(f"{self.name} has no parameter {name!r}.{hint} It takes: {', '.join(known)}.")
            if name in given:
                raise UserError(f"{self.name} got `{name}` twice, by place and by name.")
        values = {**self.parameters, **self.ours, **given, **kwargs}
        params = {}
        for name, value in values.items():
            if value is REQUIRED:
                raise UserError(f"{self.name} needs the parameter {name!r}.")
            value = self.none.get(name) if value is None else value
            ours = self.translate[name](value) if name in self.translate else value
            if name in self.only:
                if ours != self.only[name]:
                    note = f" ({self.notes[name]})" if name in self.notes else ""
                    raise UserError(
                        f"`{name}` of {self.name} must be {self.only[name]!r}{note}. Received: {name}={value!r}."
                    )
                continue
            new = self.renamed.get(name, name)
            if new is not None:
                params[new] = ours
        return self.make(self.key, params)


def keras_loss(key: str, params: dict[str, Any]) -> Any:
    """The Keras loss of a key; `reduction` and `name` are parameters of the Keras loss, the others of ours."""
    from ml4ir_losses.losses.factory import get_loss

    outer = {name: params.pop(name) for name in ("reduction", "name", "from_logits") if name in params}
    return get_loss(key, **params).get_loss_fn(**{k: v for k, v in outer.items() if k != "name" or v is not None})


def function_name(functions: Mapping[str, str]) -> Callable[[Any], Any]:
    """Turns the peer's function, or its name, into the name of ours; another function stays itself."""

    def translated(value: Any) -> Any:
        name = value if isinstance(value, str) else getattr(value, "__name__", "")
        return functions.get(name, value)

    return translated
