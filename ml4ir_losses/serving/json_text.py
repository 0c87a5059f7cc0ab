"""Checks of a JSON text that a parser does not make: its nesting, and names that occur twice in an object."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np

from ml4ir_losses.serving.errors import NotJson, RequestError

_STRUCTURE = b'[]{}":\\'
_OTHERS = bytes(set(range(256)).difference(_STRUCTURE))
_ESCAPED = re.compile(rb"\\.", re.DOTALL)


def count_members(text: bytes, depth: int) -> int:
    """The number of members, `name: value`, of all objects in a JSON text; a damaged text gives some number.

    Args:
        text: the text.
        depth: the most levels of lists and objects.

    Raises:
        RequestError: for a text of more levels.
    """
    plain = _ESCAPED.sub(b"", text) if b"\\" in text else text
    outside = b"".join(plain.translate(None, _OTHERS).split(b'"')[::2])  # what is left of it outside of strings
    signs = np.frombuffer(outside, np.uint8)
    opened = (signs == ord("[")) | (signs == ord("{"))
    closed = (signs == ord("]")) | (signs == ord("}"))
    levels = int(np.cumsum(opened.astype(np.int32) - closed, dtype=np.int64).max(initial=0))
    if levels > depth:
        raise RequestError(f"the body has {levels} levels of lists and objects; at most {depth} are read.")
    return outside.count(b":")


def refuse_repeated(text: bytes) -> None:
    """Raises `NotJson` with a name that occurs twice in an object of a JSON text."""
    json.loads(text, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise NotJson(f"the name {max(names, key=names.count)!r:.60} occurs twice in an object.")
    return dict(pairs)
