"""TF-Ranking's `data`: `tf.data` pipelines of lists, padded to one size, without TF-Ranking and TF Serving.

As in TF-Ranking, padding has each feature's `default_value`, so the label's must be -1, and with `num_epochs=None` the
last, smaller batch is dropped. What is parsed is the same, in values and shapes; the order of shuffled documents is
not.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ml4ir_losses.core.errors import UserError, unknown_name
from ml4ir_losses.core.lazy import LazyModule, Tensor

tf: Any = LazyModule("tensorflow")

ELWC = "example_list_with_context"
EIE = "example_in_example"
SEQ = "sequence_example"

Spec = Mapping[str, Any]
"""Features to parse: `tf.io.FixedLenFeature`, `VarLenFeature` or `RaggedFeature` by name."""
Features = dict[str, Tensor]
ParsingFn = Callable[[Tensor], Features]


def parse_from_example_list(
    serialized: Tensor,
    list_size: int | None = None,
    context_feature_spec: Spec | None = None,
    example_feature_spec: Spec | None = None,
    size_feature_name: str | None = None,
    mask_feature_name: str | None = None,
    shuffle_examples: bool = False,
    seed: int | None = None,
) -> Features:
    """The features of a batch of serialised `ExampleListWithContext`, [B].

    Args:
        serialized: strings, [B].
        list_size: N, to which lists are padded or cut; None: the longest list of the batch.
        context_feature_spec: features of queries, which become [B, ...].
        example_feature_spec: features of documents, which become [B, N, ...]; sparse and ragged ones stay so.
        size_feature_name: name of the number of documents, [B], before lists are cut.
        mask_feature_name: name of the mask of documents, [B, N].
        shuffle_examples: shuffles the documents of each list before it is cut.
        seed: of the shuffle.
    """
    sizes, (context, documents) = tf.io.decode_proto(
        tf.convert_to_tensor(serialized),
        message_type="ml4ir_losses.Lists",
        field_names=["context", "examples"],
        output_types=[tf.string, tf.string],
        descriptor_source=b"bytes://" + _descriptor(),
    )
    names = size_feature_name, mask_feature_name
    documents, found = _lists(documents, sizes[:, 1], list_size, names, seed if shuffle_examples else False)
    return {**_documents(documents, example_feature_spec), **_context(context, context_feature_spec), **found}


def parse_from_example_in_example(
    serialized: Tensor,
    list_size: int | None = None,
    context_feature_spec: Spec | None = None,
    example_feature_spec: Spec | None = None,
    size_feature_name: str | None = None,
    mask_feature_name: str | None = None,
    shuffle_examples: bool = False,
    seed: int | None = None,
) -> Features:
    """The features of a batch of Examples that hold `serialized_context` and `serialized_examples`, [B].

    The arguments are those of `parse_from_example_list`.
    """
    outer = {
        "serialized_context": tf.io.FixedLenFeature([1], tf.string),
        "serialized_examples": tf.io.RaggedFeature(tf.string, row_splits_dtype=tf.int32),
    }
    parsed = tf.io.parse_example(serialized, outer)
    lists = parsed["serialized_examples"]
    names = size_feature_name, mask_feature_name
    seed_or_false = seed if shuffle_examples else False
    documents, found = _lists(lists.to_tensor(""), lists.row_lengths(), list_size, names, seed_or_false)
    context = _context(parsed["serialized_context"], context_feature_spec)
    return {**_documents(documents, example_feature_spec), **context, **found}


def parse_from_sequence_example(
    serialized: Tensor,
    list_size: int | None = None,
    context_feature_spec: Spec | None = None,
    example_feature_spec: Spec | None = None,
    size_feature_name: str | None = None,
    mask_feature_name: str | None = None,
    shuffle_examples: bool = False,
    seed: int | None = None,
) -> Features:
    """The features of a batch of serialised `SequenceExample`, [B]; lists of different lengths are padded to one.

    The arguments are those of `parse_from_example_list`; documents cannot be shuffled, and default values are scalars.
    """
    if shuffle_examples:
        raise UserError(f"`shuffle_examples` is not possible with {SEQ}.")
    del seed
    spec = dict(_needed(example_feature_spec))
    fixed = {name: one for name, one in spec.items() if isinstance(one, tf.io.FixedLenFeature)}
    for name, one in fixed.items():
        spec[name] = tf.io.FixedLenSequenceFeature(one.shape, one.dtype, allow_missing=True)
    context, lists, sizes = tf.io.parse_sequence_example(
        serialized, context_features=context_feature_spec, sequence_features=spec
    )
    sizes = sizes or {name: _sizes(value) for name, value in lists.items()}
    width = _limit(list_size)
    if width is None:
        width = tf.reduce_max([tf.cast(_bounds(value)[1], tf.int32) for value in lists.values()])
    features = dict(context)
    for name, value in lists.items():
        if name in fixed:
            features[name] = _padded(value, sizes[name], width, _scalar(name, fixed[name]))
        else:
            features[name] = (_padded_ragged if isinstance(value, tf.RaggedTensor) else _padded_sparse)(value, width)
    longest = tf.reduce_max([tf.cast(size, tf.int64) for size in sizes.values()], axis=0)
    return {**features, **_size_and_mask(longest, width, size_feature_name, mask_feature_name)}


def parse_from_tf_example(
    serialized: Tensor,
    context_feature_spec: Spec | None = None,
    example_feature_spec: Spec | None = None,
    size_feature_name: str | None = None,
    mask_feature_name: str | None = None,
) -> Features:
    """The features of a batch of `tf.train.Example`, [B], as lists of one document."""
    documents = _needed(example_feature_spec)
    features: Features = tf.io.parse_example(serialized, {**(context_feature_spec or {}), **documents})
    rows = tf.shape(serialized)[0]
    features |= {name: _unflatten(features[name], rows, 1) for name in documents}
    if size_feature_name:
        features[size_feature_name] = tf.ones([rows])
    if mask_feature_name:
        features[mask_feature_name] = tf.ones([rows, 1], bool)
    return features


_PARSERS = {ELWC: parse_from_example_list, EIE: parse_from_example_in_example, SEQ: parse_from_sequence_example}


def make_parsing_fn(
    data_format: str,
    list_size: int | None = None,
    context_feature_spec: Spec | None = None,
    example_feature_spec: Spec | None = None,
    size_feature_name: str | None = None,
    mask_feature_name: str | None = None,
    shuffle_examples: bool = False,
    seed: int | None = None,
) -> ParsingFn:
    """The function that parses a batch of a format: `ELWC`, `EIE` or `SEQ`."""
    if data_format not in _PARSERS:
        raise UserError(unknown_name("data format", data_format, list(_PARSERS)))
    return functools.partial(
        _PARSERS[data_format],
        list_size=list_size,
        context_feature_spec=context_feature_spec,
        example_feature_spec=example_feature_spec,
        size_feature_name=size_feature_name,
        mask_feature_name=mask_feature_name,
        shuffle_examples=shuffle_examples,
        seed=seed,
    )


def build_ranking_dataset_with_parsing_fn(
    file_pattern: str | Sequence[str],
    parsing_fn: ParsingFn,
    batch_size: int,
    reader: Callable[..., Any] | None = None,
    reader_args: Sequence[Any] | None = None,
    num_epochs: int | None = None,
    shuffle: bool = True,
    shuffle_buffer_size: int = 10000,
    shuffle_seed: int | None = None,
    prefetch_buffer_size: int = -1,
    reader_num_threads: int = -1,
    sloppy_ordering: bool = False,
    drop_final_batch: bool = False,
    num_parser_threads: int = -1,
    from_file_list: bool = False,
) -> Any:
    """A `tf.data.Dataset` of batches of the records of files.

    Args:
        file_pattern: a glob, or a list of globs; with `from_file_list`, of files.
        parsing_fn: parses a batch of serialised records.
        batch_size: records of a batch.
        reader: makes a dataset of a file; None: `tf.data.TFRecordDataset`.
        reader_args: further arguments of `reader`, such as `["GZIP"]`.
        num_epochs: how often the files are read; None: without end.
        shuffle: shuffles files and records.
        shuffle_buffer_size: records among which the next one is drawn.
        shuffle_seed: of both shuffles.
        prefetch_buffer_size: batches that are parsed ahead; -1: TensorFlow decides, here and below.
        reader_num_threads: files that are read at a time.
        sloppy_ordering: allows an order of records that differs between runs.
        drop_final_batch: drops the last batch if it is smaller.
        num_parser_threads: batches that are parsed at a time.
        from_file_list: `file_pattern` is a list of files.
    """
    if from_file_list and (isinstance(file_pattern, str) or not isinstance(file_pattern, Sequence)):
        raise UserError("With `from_file_list`, `file_pattern` must be a list of files.")
    if from_file_list:
        files = tf.data.Dataset.from_tensor_slices(list(file_pattern))
    else:
        files = tf.data.Dataset.list_files(file_pattern, shuffle=shuffle, seed=shuffle_seed)
    read = reader or tf.data.TFRecordDataset
    cycle = {} if reader_num_threads == -1 else {"cycle_length": reader_num_threads}
    records = files.interleave(
        lambda path: read(path, *(reader_args or ())), num_parallel_calls=reader_num_threads, **cycle
    )
    options = tf.data.Options()
    options.deterministic = not sloppy_ordering
    records = records.with_options(options)
    if isinstance(records.element_spec, tuple):  # readers of pairs of key and record
        records = records.map(lambda _, record: record)
    if num_epochs != 1:
        records = records.repeat(num_epochs)
    if shuffle:
        records = records.shuffle(shuffle_buffer_size, seed=shuffle_seed)
    batches = records.batch(batch_size, drop_remainder=drop_final_batch or num_epochs is None)
    return batches.map(parsing_fn, num_parallel_calls=num_parser_threads).prefetch(prefetch_buffer_size)


def build_ranking_dataset(
    file_pattern: str | Sequence[str],
    data_format: str,
    batch_size: int,
    context_feature_spec: Spec | None,
    example_feature_spec: Spec,
    list_size: int | None = None,
    size_feature_name: str | None = None,
    mask_feature_name: str | None = None,
    shuffle_examples: bool = False,
    seed: int | None = None,
    **kwargs: Any,
) -> Any:
    """A `tf.data.Dataset` of the features of files in the format `ELWC`, `EIE` or `SEQ`, in batches.

    The arguments are those of `make_parsing_fn` and of `build_ranking_dataset_with_parsing_fn`.
    """
    parsing_fn = make_parsing_fn(
        data_format,
        list_size,
        context_feature_spec,
        example_feature_spec,
        size_feature_name,
        mask_feature_name,
        shuffle_examples,
        seed,
    )
    return build_ranking_dataset_with_parsing_fn(file_pattern, parsing_fn, batch_size, **kwargs)


@functools.cache
def _descriptor() -> bytes:
    """The message `Lists` with the wire format of `ExampleListWithContext`, whose Examples stay serialised."""
    from google.protobuf import descriptor_pb2

    files = descriptor_pb2.FileDescriptorSet()
    file = files.file.add(name="ml4ir_losses/lists.proto", package="ml4ir_losses", syntax="proto3")
    field = descriptor_pb2.FieldDescriptorProto
    message = file.message_type.add(name="Lists")
    message.field.add(name="examples", number=1, type=field.TYPE_BYTES, label=field.LABEL_REPEATED)
    message.field.add(name="context", number=2, type=field.TYPE_BYTES, label=field.LABEL_OPTIONAL)
    content: bytes = files.SerializeToString()
    return content


def _needed(spec: Spec | None) -> Spec:
    if not spec:
        raise UserError("`example_feature_spec` needs at least one feature.")
    return spec


def _limit(list_size: int | None) -> int | None:
    """None, 0 and negative numbers are no limit, as in TF-Ranking."""
    return list_size if list_size and list_size > 0 else None


def _lists(
    documents: Tensor, sizes: Tensor, list_size: int | None, names: tuple[str | None, str | None], seed: Any
) -> tuple[Tensor, Features]:
    """Serialised documents [B, N], cut or padded to the list size, and the features of sizes and masks.

    Args:
        documents: [B, longest list].
        sizes: the number of documents, [B].
        list_size: N, or None.
        names: the names of the features; None: there is none.
        seed: of the shuffle; False: documents are not shuffled.
    """
    width = _limit(list_size)
    if seed is not False:
        valid = tf.sequence_mask(sizes, tf.shape(documents)[1])
        keys = tf.where(valid, tf.random.uniform(tf.shape(documents), seed=seed), -1.0)
        documents = tf.gather(documents, tf.argsort(keys, direction="DESCENDING", stable=True), batch_dims=1)
    if width is not None:
        documents = documents[:, :width]
        documents = tf.pad(documents, [[0, 0], [0, width - tf.shape(documents)[1]]], constant_values="")
        documents = tf.ensure_shape(documents, [None, width])
    return documents, _size_and_mask(sizes, width, *names)


def _size_and_mask(sizes: Tensor, width: Any, size_name: str | None, mask_name: str | None) -> Features:
    found = {size_name: sizes} if size_name else {}
    return {**found, mask_name: tf.sequence_mask(sizes, width)} if mask_name else found


def _documents(serialized: Tensor, spec: Spec | None) -> Features:
    """The features of serialised documents [B, N]; the empty string has default values."""
    rows, width = tf.shape(serialized)[0], serialized.shape[1] or tf.shape(serialized)[1]
    parsed = tf.io.parse_example(tf.reshape(serialized, [-1]), _needed(spec))
    return {name: _unflatten(value, rows, width) for name, value in parsed.items()}


def _context(serialized: Tensor, spec: Spec | None) -> Features:
    features: Features = tf.io.parse_example(tf.reshape(serialized, [-1]), spec) if spec else {}
    return features


def _unflatten(value: Tensor, rows: Tensor, width: Any) -> Tensor:
    """[B * N, ...] as [B, N, ...]."""
    if isinstance(value, tf.RaggedTensor):
        return tf.RaggedTensor.from_uniform_row_length(value, width)
    shape = tf.concat([[rows, width], tf.cast(tf.shape(value)[1:], tf.int32)], 0)
    if isinstance(value, tf.SparseTensor):
        return tf.sparse.reshape(value, shape)
    return tf.ensure_shape(tf.reshape(value, shape), [None, _static(width), *value.shape[1:]])


def _static(width: Any) -> int | None:
    return width if isinstance(width, int) else None


def _sizes(value: Tensor) -> Tensor:
    """The number of documents of each list of a sparse or ragged feature, up to the last one that has it."""
    if isinstance(value, tf.RaggedTensor):
        return value.row_lengths()
    last = tf.math.unsorted_segment_max(value.indices[:, 1] + 1, value.indices[:, 0], value.dense_shape[0])
    return tf.maximum(last, 0)


def _bounds(value: Tensor) -> Tensor:
    if isinstance(value, tf.RaggedTensor):
        return value.bounding_shape()
    return value.dense_shape if isinstance(value, tf.SparseTensor) else tf.shape(value)


def _scalar(name: str, spec: Any) -> Any:
    """The default value of a feature, 0 or "" where it has none."""
    default = spec.default_value
    while isinstance(default, (list, tuple)) and len(default) == 1:
        default = default[0]
    if default is None:
        return "" if spec.dtype == tf.string else 0
    if not isinstance(default, (str, bytes, int, float)):
        raise UserError(f"Feature {name!r}: the default value must be a scalar with {SEQ}. Received: {default!r}.")
    return default


def _padded(value: Tensor, sizes: Tensor, width: Any, default: Any) -> Tensor:
    """A dense feature [B, documents, ...] cut or padded to [B, N, ...]."""
    default = tf.cast(default, value.dtype) if value.dtype != tf.string else default
    static = [None, _static(width), *value.shape[2:]]
    value = value[:, :width]
    missing = width - tf.shape(value)[1]
    value = tf.pad(value, [[0, 0], [0, missing]] + [[0, 0]] * (value.shape.rank - 2), constant_values=default)
    given = tf.sequence_mask(sizes, width)
    given = tf.reshape(given, tf.concat([tf.shape(given), tf.ones([value.shape.rank - 2], tf.int32)], 0))
    return tf.ensure_shape(tf.where(given, value, default), static)


def _padded_sparse(value: Tensor, width: Any) -> Tensor:
    shape = tf.concat([value.dense_shape[:1], [tf.cast(width, tf.int64)], value.dense_shape[2:]], 0)
    cut = tf.sparse.slice(value, tf.zeros_like(shape), shape)
    return tf.sparse.reset_shape(cut, shape)


def _padded_ragged(value: Tensor, width: Any) -> Tensor:
    """Lists longer than N are cut; where no list of the batch is longer, all get N documents, the last ones empty."""

    def padded() -> Tensor:
        lengths = value.row_lengths(axis=2).to_tensor(0)
        lengths = tf.reshape(tf.pad(lengths, [[0, 0], [0, width - tf.shape(lengths)[1]]]), [-1])
        documents = tf.RaggedTensor.from_row_lengths(value.flat_values, lengths)
        return tf.RaggedTensor.from_uniform_row_length(documents, width, nrows=value.nrows())

    longer = tf.cast(value.bounding_shape()[1], tf.int32) > width
    if tf.executing_eagerly():
        return value[:, :width] if longer else padded()
    return tf.cond(longer, lambda: value[:, :width], padded)
