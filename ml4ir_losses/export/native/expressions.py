"""Evaluates the expressions that `dialects` writes, in float64, by the documented meaning of each engine's language."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from ml4ir_losses.core.errors import UserError

_TOKEN = re.compile(r'\s*(?:(\d+\.?\d*(?:[eE][+-]?\d+)?)|([A-Za-z_]\w*)|"([^"]*)"|(<=|>=|==|[-+*/<>?:(),]))')

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": lambda a, b: np.divide(a, b),
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
}


def _fold(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    return lambda *values: reduce(function, values)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "if": np.where,
    "ln": np.log,
    "log": np.log,  # Vespa's; Solr's, of base 10, is never written
    "atan": np.arctan,
    "max": _fold(np.maximum),
    "sum": _fold(operator.add),
    "product": _fold(operator.mul),
    "sub": operator.sub,
    "div": np.divide,
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "or": np.logical_or,
    "isNan": np.isnan,
}


def evaluate(text: str, values: Mapping[str, Any]) -> Any:
    """The value of an expression; `values` has numbers or arrays by name, or by call such as `attribute(price)`.

    Raises:
        UserError: for something that is no expression of these languages, or a name without a value.
    """
    parser = _Parser(text)
    tree = parser.expression()
    parser.expect("")
    with np.errstate(all="ignore"):  # both sides of a condition are computed
        return tree.value(values)


@dataclass(frozen=True)
class _Node:
    """A part of an expression: its text without blanks, and its value given those of names."""

    text: str
    value: Callable[[Mapping[str, Any]], Any]


class _Parser:
    """Recursive descent over conditional, comparison, sum, product and atom."""

    def __init__(self, text: str) -> None:
        self.text, self.place = text, 0
        self.kind, self.token = 0, ""
        self.advance()

    def advance(self) -> str:
        """The current token; the next one becomes the current one."""
        token, match = self.token, _TOKEN.match(self.text, self.place)
        if match is None:
            if self.text[self.place :].strip():
                raise UserError(f"no expression: {self.text[self.place : self.place + 40]!r}")
            self.kind, self.token = 0, ""
        else:
            self.kind, self.place = int(match.lastindex or 0), match.end()
            self.token = match[self.kind]
        return token

    def expect(self, token: str) -> None:
        """Skips this token."""
        if self.token != token or self.kind not in (0, 4):
            raise UserError(f"no expression: {token!r} is missing before {self.text[self.place : self.place + 40]!r}")
        self.advance()

    def expression(self) -> _Node:
        """a ? b : c, or a comparison."""
        condition = self.binary(0)
        if not self.at("?"):
            return condition
        self.advance()
        yes = self.expression()
        self.expect(":")
        no = self.expression()
        return _Node("", lambda v: np.where(condition.value(v), yes.value(v), no.value(v)))

    LEVELS = (("<", "<=", ">", ">=", "=="), ("+", "-"), ("*", "/"))

    def at(self, *tokens: str) -> bool:
        """True if the current token is one of these operators."""
        return self.kind == 4 and self.token in tokens

    def binary(self, level: int) -> _Node:
        """Operators of a level of precedence and of those above, from left to right."""
        if level == len(self.LEVELS):
            return self.atom()
        first = self.binary(level + 1)
        others: list[tuple[Callable[[Any, Any], Any], _Node]] = []
        while self.at(*self.LEVELS[level]):
            others.append((OPERATORS[self.advance()], self.binary(level + 1)))
        if not others:
            return first
        return _Node("", lambda v: reduce(lambda a, other: other[0](a, other[1].value(v)), others, first.value(v)))

    def atom(self) -> _Node:
        """A number, a string, a name, a call, a negated atom or an expression in brackets."""
        if self.at("("):
            self.advance()
            inner = self.expression()
            self.expect(")")
            return inner
        if self.at("-"):
            self.advance()
            inner = self.atom()
            return _Node(f"-{inner.text}", lambda v: -inner.value(v))
        kind, token = self.kind, self.advance()
        if kind == 1:
            number = float(token)
            return _Node(token, lambda v: number)
        if kind == 3:
            return _Node(f'"{token}"', lambda v: token)
        if kind != 2:
            raise UserError(f"no expression: {self.text[max(self.place - 40, 0) : self.place + 40]!r}")
        return self.call(token) if self.at("(") else _Node(token, lambda v: _known(token, v))

    def call(self, name: str) -> _Node:
        """name(argument, ...)."""
        self.expect("(")
        arguments: list[_Node] = []
        while not self.at(")"):
            if arguments:
                self.expect(",")
            arguments.append(self.expression())
        self.expect(")")
        text = f"{name}({','.join(argument.text for argument in arguments)})"

        def value(values: Mapping[str, Any]) -> Any:
            if text in values:
                return values[text]
            if name not in FUNCTIONS:
                return _known(text, values)
            return FUNCTIONS[name](*(argument.value(values) for argument in arguments))

        return _Node(text, value)


def _known(name: str, values: Mapping[str, Any]) -> Any:
    if name not in values:
        raise UserError(f"the expression reads {name!r}, which has no value. Known: {', '.join(values)}.")
    return values[name]
