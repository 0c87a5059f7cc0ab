"""TF-Ranking's `data`: `tf.data` pipelines of lists, padded to one size, without TF-Ranking and TF Serving.

As in TF-Ranking, padding has each feature's `default_value`, so the label's must be -1, and with `num_epochs=None` the
last, smaller batch is dropped. What is parsed is the same, in values and shapes; the order of shuffled documents is
not.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from ml4ir_losses.compat.tf_ranking.list_tensors import (
    Features,
    Spec,
    bounds,
    cut_or_padded,
    limit,
    lists_descriptor,
    needed,
    padded,
    padded_ragged,
    padded_sparse,
    parse_context,
    parse_documents,
    scalar_default,
    shuffled,
    size_and_mask,
    sizes_of,
    unflatten,
)
from ml4ir_losses.core.errors import UserError, unknown_name
from ml4ir_losses.core.lazy import LazyModule, Tensor

tf: Any = LazyModule("tensorflow")

ELWC = "example_list_with_context"
EIE = "example_in_example"
SEQ = "sequence_example"

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
        descriptor_source=b"bytes://" + lists_descriptor(),
    )
    return _parsed(
        context,
        documents,
        sizes[:, 1],
        list_size,
        (context_feature_spec, example_feature_spec),
        (size_feature_name, mask_feature_name),
        shuffle_examples,
        seed,
    )


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
    documents, sizes = parsed["serialized_examples"].to_tensor(""), parsed["serialized_examples"].row_lengths()
    return _parsed(
        parsed["serialized_context"],
        documents,
        sizes,
        list_size,
        (context_feature_spec, example_feature_spec),
        (size_feature_name, mask_feature_name),
        shuffle_examples,
        seed,
    )


def _parsed(
    context: Tensor,
    documents: Tensor,
    sizes: Tensor,
    list_size: int | None,
    specs: tuple[Spec | None, Spec | None],
    names: tuple[str | None, str | None],
    shuffle_examples: bool,
    seed: int | None,
) -> Features:
    """The features of serialised queries [B] and their documents [B, longest list], shuffled, cut or padded."""
    width = limit(list_size)
    documents = shuffled(documents, sizes, seed) if shuffle_examples else documents
    features = parse_documents(cut_or_padded(documents, width), specs[1])
    return {**features, **parse_context(context, specs[0]), **size_and_mask(sizes, width, *names)}


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
    spec = dict(needed(example_feature_spec))
    fixed = {name: one for name, one in spec.items() if isinstance(one, tf.io.FixedLenFeature)}
    for name, one in fixed.items():
        spec[name] = tf.io.FixedLenSequenceFeature(one.shape, one.dtype, allow_missing=True)
    context, lists, sizes = tf.io.parse_sequence_example(
        serialized, context_features=context_feature_spec, sequence_features=spec
    )
    sizes = sizes or {name: sizes_of(value) for name, value in lists.items()}
    width = limit(list_size)
    if width is None:
        width = tf.reduce_max([tf.cast(bounds(value)[1], tf.int32) for value in lists.values()])
    features = dict(context)
    for name, value in lists.items():
        if name in fixed:
            features[name] = padded(value, sizes[name], width, scalar_default(name, fixed[name]))
        else:
            features[name] = (padded_ragged if isinstance(value, tf.RaggedTensor) else padded_sparse)(value, width)
    longest = tf.reduce_max([tf.cast(size, tf.int64) for size in sizes.values()], axis=0)
    return {**features, **size_and_mask(longest, width, size_feature_name, mask_feature_name)}


def parse_from_tf_example(
    serialized: Tensor,
    context_feature_spec: Spec | None = None,
    example_feature_spec: Spec | None = None,
    size_feature_name: str | None = None,
    mask_feature_name: str | None = None,
) -> Features:
    """The features of a batch of `tf.train.Example`, [B], as lists of one document."""
    documents = needed(example_feature_spec)
    features: Features = tf.io.parse_example(serialized, {**(context_feature_spec or {}), **documents})
    rows = tf.shape(serialized)[0]
    features |= {name: unflatten(features[name], rows, 1) for name in documents}
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
