"""Cross-encoder losses of a positive among its negatives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import Positive, PositiveInt, Seed
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.core.shapes import Shape, differ, show
from ml4ir_losses.losses.base import ListwiseLossBase
from ml4ir_losses.ops import as_float, clean, ranks, row_sum, surprisal
from ml4ir_losses.ops.replicas import gather_rows, replica_count, uniform_rows, whole_rows


def cross_encoder_multiple_negatives_ranking(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    temperature: Positive = 1.0,
    num_negatives: PositiveInt | None = 4,
    scale: Positive = 10.0,
    seed: Seed = None,
) -> Tensor:
    """Per-query cross entropy of the positive, [B]: see `CrossEncoderMultipleNegativesRankingLoss`.

    Only the shape of `labels` is read. `mask` and `item_weight` are [B], or the mask is [B, width of `scores`].
    `seed` may also be a `keras.random.SeedGenerator`.
    """
    labels, scores = ops.convert_to_tensor(labels), as_float(scores)
    is_list = already_sampled(labels.shape, scores.shape, num_negatives)
    rows, width = ops.shape(scores)[0], ops.shape(scores)[1]
    valid = _valid_columns(mask, scores, is_list)
    _, scores, valid, _ = clean(scores, scores, valid, temperature=temperature / scale)

    if is_list:
        chosen, positive = valid, ops.logical_and(valid, ops.arange(width)[None, :] == 0)
    else:
        # The columns are the candidates of the whole batch, the rows those of this replica.
        total, first = whole_rows(scores)
        column, row = ops.arange(width)[None, :], ops.arange(rows)[:, None] + first
        # `tile` instead of a remainder: with sizes unknown until run time, it fails for a width that does not fit.
        own = ops.tile(ops.arange(total)[None, :] == row, (1, width // total))
        others = ops.logical_and(valid, ops.logical_not(own))
        known = isinstance(total, int) and None not in tuple(scores.shape)
        if not (known and num_negatives is not None and num_negatives >= width - width // total):
            others = _sample(others, num_negatives, seed)
        chosen = ops.logical_or(others, ops.logical_and(valid, own))
        positive = ops.logical_and(valid, column == row)
    return _cross_entropy(scores, chosen, positive, item_weight)


def positive_among_list(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    temperature: Positive = 1.0,
    num_negatives: PositiveInt | None = 4,
    scale: Positive = 10.0,
    seed: Seed = None,
) -> Tensor:
    """Per-query cross entropy of a list's positive, [B], from labels [B, N]: see the class with labels.

    The positive is the first document of the highest label, if that is above 0; negatives are those that are not.
    """
    labels, scores, valid, _ = clean(labels, scores, mask, temperature=temperature / scale)
    relevant = ops.logical_and(valid, labels > 0)
    positive = ops.logical_and(relevant, ranks(labels, valid) == 1)
    negative = _sample(ops.logical_and(valid, ops.logical_not(relevant)), num_negatives, seed)
    return _cross_entropy(scores, ops.logical_or(positive, negative), positive, item_weight)


def _sample(candidates: Tensor, count: int | None, seed: Any) -> Tensor:
    """A random mask of `count` candidates per row; all of them if there are no more."""
    if count is None:
        return candidates
    draw = uniform_rows(ops.shape(candidates), dtype="float32", seed=seed)
    return ops.logical_and(candidates, ranks(draw, candidates) <= count)


def _cross_entropy(scores: Tensor, chosen: Tensor, positive: Tensor, weight: Tensor | None) -> Tensor:
    """Cross entropy of each row's positive among the chosen columns, [B]; 0 for a row without a positive."""
    has_positive = ops.any(positive, axis=-1, keepdims=True)
    values = row_sum(ops.where(positive, surprisal(scores, ops.logical_and(chosen, has_positive)), 0.0))
    return values if weight is None else values * ops.cast(weight, values.dtype)


def already_sampled(
    labels: Sequence[int | None], scores: Sequence[int | None], num_negatives: int | None, key: str = ""
) -> bool:
    """True if a row of y_pred is a positive with its negatives, False if it holds all candidates, by the shapes."""
    rows, width = scores
    rows = None if replica_count() > 1 else rows  # the columns are those of all replicas
    is_list = num_negatives is not None and width == 1 + num_negatives
    if rows is None or width is None:
        return is_list
    whole = width % rows == 0
    if is_list and whole:  # ambiguous: labels for every column are those of a list
        return len(labels) == 2 and labels[1] == width
    if not is_list and not whole:
        raise UserError(
            f"{key or 'The loss'!r} takes y_pred [B, 1 + num_negatives], the positive first, or all candidates "
            f"[B, a multiple of B]. Received: y_pred [{rows}, {width}], num_negatives={num_negatives}."
        )
    return is_list


def _valid_columns(mask: Tensor | None, scores: Tensor, is_list: bool) -> Tensor:
    """Mask of the valid columns of each row, [B, width], from a mask of rows or of columns."""
    if mask is None:
        return ops.ones_like(scores, dtype="bool")
    mask = ops.cast(mask, "bool")
    if len(mask.shape) == 2 and mask.shape[1] != 1:
        return mask
    rows, width = ops.shape(scores)[0], ops.shape(scores)[1]
    mask = ops.reshape(mask, (-1, 1))
    both = ops.broadcast_to(mask, (rows, width))
    if is_list:
        return both
    # Documents of a padding row are not candidates of any row.
    (every_row,), _ = gather_rows(mask[:, 0])
    return ops.logical_and(both, ops.tile(every_row[None, :], (1, width // ops.shape(every_row)[0])))


@register_loss("cross_encoder_multiple_negatives_ranking")
class CrossEncoderMultipleNegativesRankingLoss(ListwiseLossBase):
    r"""Cross entropy of a query's positive among sampled negatives, scored by a cross-encoder.

    $$\ln\sum_{j \in L} e^{c\,a(s_j)/T} - c\,a(s_+)/T$$
    with L the positive, the sampled negatives and the query's own hard negatives, and a the `activation_fn`.

    y_pred [B, B·C] holds all candidates: column c·B + j is the j-th row of candidate column c, so that row i's own
    positive is column i and its own hard negatives are c·B + i. `num_negatives` of the other rows' candidates are
    drawn for every row, without replacement and again at every call. Or y_pred is [B, 1 + num_negatives], already
    sampled, the positive first. The width decides: 1 + `num_negatives` is an already sampled list, any other
    multiple of B all candidates. Where both fit, y_true of y_pred's shape means a list, and y_true [B] or [B, 1]
    means all candidates. For other lists, such as with hard negatives, set `num_negatives` to
    their width less 1. No labels: y_true is anything with B rows. In nats.

    With a number as `min_label`, as in every config, y_true [B, N] holds labels of lists of any width: the positive
    is the first document of the highest label, which must be above 0, and the negatives are drawn from the documents
    that are not above 0. A list without a positive gives 0.

    Args:
        temperature: T, above 0.
        num_negatives: how many negatives are drawn; None, or more than there are: all.
        scale: c, above 0. With a sigmoid and m negatives, no value is below ln(1 + m·exp(-c)).
        seed: equal seeds give equal sequences of draws.
        min_label: None: there are no labels; a number: documents whose label is below it are padding.
        activation_fn: a, applied to the logits first; None is the identity.

    Raises:
        ValueError: for a y_pred that is neither a list nor all candidates.

    Source: van den Oord et al., "Representation learning with contrastive predictive coding" (2018); the
    cross-encoder loss of sentence-transformers.
    """

    function = staticmethod(cross_encoder_multiple_negatives_ranking)
    activation = "sigmoid"
    stochastic = True
    in_batch = True
    defaults = {"activation_fn": "sigmoid", "min_label": None}

    def valid(self, y_true: Tensor, y_pred: Tensor) -> Tensor | None:
        """The documents of labelled lists that count; without labels all do."""
        return None if self.min_label is None else super().valid(y_true, y_pred)

    def without_draws(self) -> Self:
        return type(self)(**{**self.params, "num_negatives": None})

    @property
    def pure_function(self) -> Callable[..., Tensor]:
        return type(self).function if self.min_label is None else positive_among_list

    def check_shapes(self, y_true: Shape, y_pred: Shape) -> None:
        if self.min_label is not None:
            super().check_shapes(y_true, y_pred)
            return
        if len(y_pred) != 2 or not y_true or differ(y_true[0], y_pred[0]):
            raise UserError(
                f"{self.key!r} takes y_pred [B, columns] and y_true with B rows. "
                f"Received: y_true {show(y_true)}, y_pred {show(y_pred)}."
            )
        already_sampled(y_true, y_pred, self.params["num_negatives"], self.key)

    def weight_shape(self, y_true: Shape, y_pred: Shape) -> tuple[int | None, ...]:
        return tuple(y_true[:1])


@register_loss("cached_cross_encoder_multiple_negatives_ranking")
class CachedCrossEncoderMultipleNegativesRankingLoss(CrossEncoderMultipleNegativesRankingLoss):
    r"""`cross_encoder_multiple_negatives_ranking` under the name of its form for large batches.

    $$\ln\sum_{j \in L} e^{c\,a(s_j)/T} - c\,a(s_+)/T$$

    The value and the gradient are the same; shapes are those of `CrossEncoderMultipleNegativesRankingLoss`. In nats.

    Args:
        temperature: T, above 0.
        num_negatives: how many negatives are drawn; None, or more than there are: all.
        scale: c, above 0.
        seed: equal seeds give equal sequences of draws.
        min_label: None: there are no labels; a number: documents whose label is below it are padding.
        activation_fn: a, applied to the logits first; None is the identity.
        mini_batch_size: how many documents a cross-encoder scores at a time; never changes the value.
        show_progress_bar: kept from sentence-transformers, no effect.

    Raises:
        ValueError: for a y_pred that is neither a list nor all candidates.

    Source: Gao et al., "Scaling deep contrastive learning batch size under memory limited setup" (2021).
    """

    step_parameters: ClassVar[Mapping[str, Any]] = {"mini_batch_size": PositiveInt, "show_progress_bar": bool}
    defaults = {"activation_fn": "sigmoid", "min_label": None, "mini_batch_size": 32, "show_progress_bar": False}
