"""What ml4ir's feature and preprocessing functions become: an input's keys, and a finding for the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from ml4ir_losses.config.base import Spec

Status = Literal["mapped", "changed", "left out", "assumed"]
_VECTOR = "store the embedding as a column of lists of numbers and read it with type: vector"


class Finding(NamedTuple):
    """What became of a part of an imported file.

    Attributes:
        where: the feature, or the section of the file.
        what: the key and its value there.
        status: `mapped`, `changed` (the meaning differs), `left out`, or `assumed` (the file does not say it).
        note: what stands in the config, why, and what to do by hand.
    """

    where: str
    what: str
    status: Status
    note: str = ""


@dataclass
class Draft:
    """The input that a feature becomes.

    Attributes:
        name: the column.
        config: keys of the input, without `name` and `scope`; None: the feature becomes no input.
        findings: the report, as far as it is known.
        transforms: numeric transforms of ml4ir's preprocessing, then those of its feature function.
    """

    name: str
    config: dict[str, Any] | None
    findings: list[Finding]
    transforms: list[Spec] = field(default_factory=list)

    def note(self, what: str, status: Status, note: str = "") -> None:
        """Adds a line to the report."""
        self.findings.append(Finding(self.name, what, status, note))

    def becomes(self, kind: str, **keys: Any) -> None:
        """Makes the feature an input of this type; keys whose value is None keep their default."""
        self.config = {"type": kind, **{name: value for name, value in keys.items() if value is not None}}

    @property
    def kind(self) -> str:
        """The type of the input; "" if there is none."""
        return "" if self.config is None else str(self.config["type"])


class Arguments:
    """The `args` of a function; those that were not read are left out."""

    def __init__(self, values: Any) -> None:
        self.values: Mapping[str, Any] = values if isinstance(values, Mapping) else {}
        self.read: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        """An argument; the default if it is missing or null."""
        self.read.add(name)
        value = self.values.get(name)
        return default if value is None else value

    def count(self, name: str) -> int | None:
        """An argument that is a whole number of at least 1; None for anything else."""
        value = self.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) and value >= 1 else None

    def number(self, name: str, default: float | None = None) -> float | None:
        """An argument that is a number; the default for anything else."""
        value = self.get(name)
        return value if isinstance(value, (int, float)) and not isinstance(value, bool) else default

    def unread(self) -> list[str]:
        """The arguments that nothing has asked for."""
        return [str(name) for name in self.values if name not in self.read]


Function = Callable[[str, Draft, Arguments], None]


def _hash_buckets(fn: str, draft: Draft, args: Arguments) -> None:
    functions, size = args.count("num_hash_buckets") or 1, args.count("hash_bucket_size")
    dim, merge = args.count("embedding_size"), args.get("merge_mode", "mean")
    wide = dim * functions if dim and merge == "concat" else dim
    buckets = None if size is None else max(2, size * functions)
    draft.becomes("categorical", encoding="hash", num_buckets=buckets, embedding_dim=wide)
    if functions == 1:
        draft.note(fn, "mapped", "one hash function; its values differ from ml4ir's, so weights cannot be carried over")
    else:
        draft.note(fn, "changed", f"one hash function into {buckets} buckets instead of {functions} ({merge})")


def _indices(fn: str, draft: Draft, args: Arguments) -> None:
    args.get("default_value")
    draft.becomes("categorical", max_vocabulary=args.count("num_buckets"), embedding_dim=args.count("embedding_size"))
    draft.note(fn, "mapped", "the values of the training split; others share one embedding instead of default_value")


def _vocabulary(draft: Draft, args: Arguments, *, embedding: bool = True, **keys: Any) -> str:
    """Makes the feature a category with a vocabulary; returns which values it holds."""
    vocabulary = args.get("vocabulary_file", args.get("vocabulary"))
    if isinstance(vocabulary, (list, tuple)):
        vocabulary = list(dict.fromkeys(str(value) for value in vocabulary if value not in (None, ""))) or None
    elif not isinstance(vocabulary, str):
        vocabulary = None
    args.get("default_value")
    draft.becomes(
        "categorical",
        vocabulary=vocabulary,
        oov_buckets=args.count("num_oov_buckets"),
        embedding_dim=args.count("embedding_size") if embedding else None,
        **keys,
    )
    if not isinstance(vocabulary, str):
        return "the given values" if vocabulary else "the values of the training split, as no vocabulary is given"
    by_hand = "needs one value per line: take out the header and the column of ids"
    draft.note(f"vocabulary_file: {vocabulary}", "changed", by_hand)
    return "the values of the file"


def _vocabulary_file(fn: str, draft: Draft, args: Arguments) -> None:
    one_hot = args.get("embedding_size") is None
    note = _vocabulary(draft, args)
    if one_hot:
        note += "; a trained embedding replaces the one-hot vector"
    draft.note(fn, "changed" if one_hot else "mapped", note)
    _cut_file(draft, args)


def _cut_file(draft: Draft, args: Arguments) -> None:
    if (rows := args.count("max_length")) is not None:
        draft.note(f"max_length: {rows}", "left out", "the whole file is the vocabulary: cut it to its first values")


def _vocabulary_file_and_dropout(fn: str, draft: Draft, args: Arguments) -> None:
    rate = args.number("dropout_rate")
    note = _vocabulary(draft, args)
    draft.note(fn, "mapped", note)
    draft.note(
        f"dropout_rate: {rate}", "left out", "model.feature_dropout drops features; it is one rate for all inputs"
    )
    _cut_file(draft, args)


def _indicator(fn: str, draft: Draft, args: Arguments) -> None:
    note = _vocabulary(draft, args, embedding=False)
    draft.note(fn, "changed", f"{note}; a trained embedding replaces the one-hot vector")
    _cut_file(draft, args)


def _vector(fn: str, draft: Draft, args: Arguments) -> None:
    kind = args.get("encoding_type", "embedding" if args.values.get("embedding_size") else "one_hot")
    note = _vocabulary(draft, args)
    if kind == "embedding":
        draft.note(fn, "mapped", note)
    else:
        draft.note(fn, "changed", f"{note}; a trained embedding replaces the {kind} vector")


def _category_bilstm(fn: str, draft: Draft, args: Arguments) -> None:
    args.get("lstm_kernel_initializer")
    width, longest = args.count("encoding_size"), args.count("max_length")
    note = _vocabulary(draft, args, pooling="mean", max_values=longest)
    if draft.config is not None and width is not None:
        draft.config["embedding_dim"] = width
    draft.note(fn, "changed", f"the mean of the embeddings replaces the BiLSTM: their order is not read; {note}")


def _bytes_bilstm(fn: str, draft: Draft, args: Arguments) -> None:
    for name in ("encoding_type", "embedding_size", "max_length", "lstm_kernel_initializer"):
        args.get(name)
    draft.becomes("text", ngrams=[3, 5], embedding_dim=args.count("encoding_size"))
    draft.note(fn, "changed", "the mean embedding of words and of their character n-grams replaces the BiLSTM of bytes")


def _pretrained(fn: str, draft: Draft, args: Arguments) -> None:
    draft.becomes("text")
    args.read.update(args.values)
    draft.note(fn, "changed", f"word embeddings are trained from scratch; for pretrained ones {_VECTOR}")


def _not_an_input(by_hand: str) -> Function:
    def leave_out(fn: str, draft: Draft, args: Arguments) -> None:
        args.read.update(args.values)
        draft.config = None
        draft.note(fn, "left out", by_hand)

    return leave_out


def _robust(fn: str, draft: Draft, args: Arguments) -> None:
    args.read.update(("q25", "q75", "p25", "p75"))
    draft.transforms.append("robust")
    draft.note(fn, "changed", "(x - median) / interquartile range, both of the training split, instead of given values")


def _theoretical_min_max(fn: str, draft: Draft, args: Arguments) -> None:
    low = args.number("theoretical_min", 0.0)
    draft.transforms.append("query_min_max")
    draft.note(fn, "changed", f"query_min_max: the lowest value of the query becomes 0, not the value {low:g}")


def _reciprocal_rank(fn: str, draft: Draft, args: Arguments) -> None:
    args.read.update(("k", "k_trainable", "ignore_zero_score", "scale_range_to_one"))
    if draft.config is not None:
        draft.config["query_rank"] = True
    draft.note(fn, "changed", "query_rank: the value and its rank in the query, -1/2 to 1/2, instead of 1 / (k + rank)")


def _identity(name: str, neutral: float) -> Callable[[Arguments], list[Spec] | None]:
    return lambda args: [] if args.number(name) == neutral else None


def _clip(args: Arguments) -> list[Spec]:
    bounds = {"min": args.number("clip_value_min"), "max": args.number("clip_value_max")}
    return [{"key": "clip", **{name: value for name, value in bounds.items() if value is not None}}]


_NATIVE: dict[str, Callable[[Arguments], list[Spec] | None]] = {
    "clip_by_value": _clip,
    "add": _identity("y", 0),
    "subtract": _identity("y", 0),
    "multiply": _identity("y", 1),
    "divide": _identity("y", 1),
    "identity": lambda args: [],
    "log1p": lambda args: ["log1p"],
    "atan": lambda args: ["arctan"],
    "reciprocal": lambda args: ["reciprocal"],
}


def _native(fn: str, draft: Draft, args: Arguments) -> None:
    """Only names that are known; nothing is looked up in TensorFlow or run."""
    steps = args.get("ops", [])
    steps = steps if isinstance(steps, list) else []
    names, transforms = [], []
    for step in steps:
        name = str(step.get("fn", "")) if isinstance(step, Mapping) else str(step)
        known = _NATIVE.get(name.removeprefix("tf.").removeprefix("math.")) if name.startswith("tf.") else None
        result = known(Arguments(step.get("args"))) if known and isinstance(step, Mapping) else None
        if result is None:
            by_hand = f"{name!r} is not run: compute all {len(steps)} operations of the list as a column of the data"
            draft.note(fn, "left out", by_hand)
            return
        names.append(name)
        transforms += result
    draft.transforms += transforms
    draft.note(fn, "mapped", f"{', '.join(names) or 'no operation'}: {transforms or 'no transform is needed'}")


LAYERS: dict[str, Function] = {
    "bytes_sequence_to_encoding_bilstm": _bytes_bilstm,
    "global_1d_pooling": _not_an_input("store each pooled value (sum, mean, ...) as a numeric column"),
    "categorical_embedding_to_encoding_bilstm": _category_bilstm,
    "categorical_embedding_with_hash_buckets": _hash_buckets,
    "categorical_embedding_with_indices": _indices,
    "categorical_embedding_with_vocabulary_file": _vocabulary_file,
    "categorical_embedding_with_vocabulary_file_and_dropout": _vocabulary_file_and_dropout,
    "categorical_indicator_with_vocabulary_file": _indicator,
    "categorical_vector": _vector,
    "tf_native_op": _native,
    "robust_scaler": _robust,
    "theoretical_min_max_norm": _theoretical_min_max,
    "reciprocal_rank": _reciprocal_rank,
    "query_length": _not_an_input("store the number of words as a numeric column with scope: query"),
    "query_type_vector": _not_an_input("store the type of the query as a column, of type: categorical"),
    "glove_query_embedding_vector": _pretrained,
    "sentence_transformer_with_tokenizer": _pretrained,
}
"""What each `feature_layer_info.fn` does to the draft of an input."""


def _preprocess_text(fn: str, draft: Draft, args: Arguments) -> None:
    lower, plain = bool(args.get("to_lower", False)), bool(args.get("remove_punctuation", False))
    custom = args.get("punctuation") is not None or bool(args.get("replace_with_whitespace", False))
    if draft.kind != "text":
        draft.note(fn, "left out", "values are read as they are: clean the column of the data")
    elif lower and plain and not custom:
        draft.note(fn, "mapped", "a text input does so for ASCII")
    else:
        draft.note(fn, "changed", "a text input lower-cases ASCII letters and leaves out ASCII punctuation")


def _split(fn: str, draft: Draft, args: Arguments) -> None:
    separator, longest = args.get("split_char", ","), args.count("max_length")
    if draft.config is None or draft.kind != "categorical":
        draft.note(fn, "left out", "only a categorical input splits its cells")
        return
    draft.config |= {"separator": str(separator), "max_values": longest or 20}
    if "pooling" not in draft.config:
        draft.config["pooling"] = "mean"
        draft.note(fn, "changed", "the mean of the embeddings of the values")
    else:
        draft.note(fn, "mapped", f"separator: {str(separator)!r}")


def _natural_log(fn: str, draft: Draft, args: Arguments) -> None:
    shift = args.number("shift", 1.0)
    if draft.kind != "numeric":
        draft.note(fn, "left out", "the input is no number")
    elif shift == 1:
        draft.transforms.append("log1p")
        draft.note(fn, "mapped", "log1p, which is ln(1 + x) for x of at least 0")
    else:
        draft.note(fn, "left out", f"there is no ln(x + {shift:g}): store it as a column, or use the transform log1p")


PREPROCESSING: dict[str, Function] = {
    "preprocess_text": _preprocess_text,
    "split_and_pad_string": _split,
    "split_string": _split,
    "natural_log": _natural_log,
}
"""What each `preprocessing_info.fn` does to the draft of an input, whose type is known by then."""

LABELS = {
    "convert_label_to_clicks": "store the clicks as a column: 1 where the label is the highest of its query, else 0",
    "one_hot_vectorize_label": "a label is a number per document: store the class as a number",
    "categorical_indicator_with_vocabulary_file": "a label is a number per document: store the class as a number",
    "string_multi_label_processor": "store the weighted sum of the numbers of the text as a column",
}
"""What to do by hand for functions of the label."""
