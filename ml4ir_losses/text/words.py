"""Words of texts, and vocabularies of the most frequent ones."""

from __future__ import annotations

from collections import Counter

_PUNCTUATION = b"!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~'"


def tokenize(text: str) -> list[str]:
    """Words: ASCII letters lower-cased, ASCII punctuation left out, as in Keras' TextVectorization inside the model."""
    return [word.decode() for word in text.encode().lower().translate(None, _PUNCTUATION).split()]


def most_common(counts: Counter[str], size: int, min_count: int = 1) -> list[str]:
    """The most frequent values, equally frequent ones by name, so that a vocabulary does not depend on row order."""
    counts.pop("", None)
    enough = (item for item in counts.items() if item[1] >= min_count)
    return [value for value, _ in sorted(enough, key=lambda item: (-item[1], item[0]))[:size]]
