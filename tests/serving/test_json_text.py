"""The nesting and the members of JSON texts, without parsing them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml4ir_losses.serving.errors import NotJson, RequestError
from ml4ir_losses.serving.json_text import count_members, refuse_repeated

TEXTS = st.text(st.characters(codec="utf-8") | st.sampled_from('[]{}":\\,'))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def members(value):
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return (len(value) if isinstance(value, dict) else 0) + sum(map(members, inner))


def levels(value):
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(levels, inner), default=0)


@given(VALUES, st.booleans())
def test_members_and_levels_are_those_of_the_parsed_text(value, ascii_only):
    text = json.dumps(value, ensure_ascii=ascii_only).encode()
    depth = levels(value)
    assert count_members(text, depth) == members(value)
    if depth:
        with pytest.raises(RequestError, match=f"{depth} levels"):
            count_members(text, depth - 1)


@given(st.binary(max_size=40))
def test_any_bytes_are_counted_without_an_error(text):
    assert count_members(text, 100) >= 0


def test_a_name_that_occurs_twice_is_named():
    with pytest.raises(NotJson, match="'b' occurs twice"):
        refuse_repeated(b'{"a": 1, "c": {"b": 1, "a": 2, "b": 3}}')
    refuse_repeated(b'{"a": 1, "c": {"b": 1, "a": 2}}')
