"""Reads the bodies of requests: JSON that is checked against the types of a run, with one line for what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ml4ir_losses.core.errors import did_you_mean
from ml4ir_losses.serving.errors import NotJson, RequestError
from ml4ir_losses.serving.json_text import count_members, refuse_repeated

Path = tuple[str | int, ...]
_WORDS = {
    "Input should be": "must be",
    "List should have": "must have",
    "a valid array": "a list",
    "a valid list": "a list",
    "a valid string": "a text",
    "a valid integer": "a whole number",
}
"""The words of pydantic's messages, and ours."""


class Reader:
    """Reads one kind of request.

    Args:
        types: the types that a body may have, by a name that each needs.
        members: the number of members of all objects in a request.
        hint: advice about an unknown name at a path.
        depth: the most levels of lists and objects.
    """

    def __init__(
        self, types: Mapping[str, Any], members: Callable[[Any], int], hint: Callable[[Path], str], depth: int
    ) -> None:
        self.adapters = {needed: TypeAdapter(type_) for needed, type_ in types.items()}
        self.members, self.hint, self.depth = members, hint, depth

    def __call__(self, body: bytes) -> Any:
        """The request.

        Raises:
            RequestError: with one line, for a body that is no such request.
        """
        members = count_members(body, self.depth)
        refusals = []
        # A type whose name the body does not hold comes last: to fail with it takes longer than to read the body.
        for needed, adapter in sorted(self.adapters.items(), key=lambda type_: f'"{type_[0]}"'.encode() not in body):
            try:
                request = adapter.validate_json(body)
            except ValidationError as error:
                found = error.errors(include_url=False, include_context=False)
                refusals.append(found)
                if not any(one["type"] == "missing" and one["loc"] == (needed,) for one in found):
                    raise self._refusal(found) from None
            else:
                if self.members(request) != members:
                    refuse_repeated(body)
                return request
        raise self._refusal(refusals[-1])

    def _refusal(self, errors: Iterable[Any]) -> RequestError:
        """One line for the first error; an unknown name comes first: it may be the one that is missing."""
        error = min(errors, key=lambda one: one["type"] != "extra_forbidden")
        kind, path, place = error["type"], error["loc"], path_text(error["loc"])
        if kind == "json_invalid":
            return NotJson(f"the body is not JSON: {error['msg'].removeprefix('Invalid JSON: ')}")
        if kind == "extra_forbidden":
            return RequestError(f"{place}: there is no such name.{self.hint(path)}")
        if kind == "missing":
            return RequestError(f"{place}: is missing.")
        received = error["input"]
        if kind in ("too_long", "too_short"):
            received = f"{len(received)} items"
        reason = error["msg"].partition(" after validation")[0]
        for word, plain in _WORDS.items():
            reason = reason.replace(word, plain)
        return RequestError(f"{place}: {reason}. Received: {short(received)}.")


def path_text(path: Path) -> str:
    """`queries[0].documents[2].price`; `the body` of an empty path."""
    text = ""
    for part in path:
        plain = isinstance(part, str) and part.isidentifier()
        text += (f".{part}" if text else str(part)) if plain else f"[{part!r:.60}]"
    return text or "the body"


def short(value: Any) -> str:
    """A value of any length in a message."""
    text = value if isinstance(value, str) and value.endswith(" items") else repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def known_names(names: Iterable[str]) -> Callable[[Path], str]:
    """The hint of a request whose objects all have the same names."""
    return lambda path: did_you_mean(str(path[-1]), names)
