"""`Ranker`: an estimator with scikit-learn's interface, for users of LightGBM and XGBoost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from ml4ir_losses.config.base import Spec
from ml4ir_losses.config.checks import metric_name
from ml4ir_losses.config.load import load_config
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.log import progress_bar, shown_log
from ml4ir_losses.core.registry import ARCHITECTURES, split_spec
from ml4ir_losses.data.table import ranks_in_queries
from ml4ir_losses.estimators.eval_sets import EvalSets, pairs_of
from ml4ir_losses.estimators.rows import Rows, rows_of
from ml4ir_losses.estimators.saving import load_estimator, model_bytes, model_of, save_estimator
from ml4ir_losses.estimators.settings import config_of, without_data
from ml4ir_losses.evaluation.scoring import lower_is_better
from ml4ir_losses.experiments.experiment import prepare
from ml4ir_losses.experiments.feature_experiment import FeatureExperiment
from ml4ir_losses.experiments.fit import fit
from ml4ir_losses.export.exporting import Exported

_BLOCK = 1024  # rows that are scored as one list if the scores do not depend on the list


class Ranker(BaseEstimator):  # type: ignore[misc]
    """A neural ranker with the interface of `LGBMRanker` and `XGBRanker`.

    `fit` makes a config of the parameters and trains it as `train` does: equal settings and seeds give equal models.

    Args:
        loss: the key of a loss, or `{key: ..., <parameters>}`.
        architecture: the key of an architecture, or `{key: ..., <parameters>}`.
        hidden_units: width of each hidden layer; None: as the architecture says.
        dropout: dropout rate of the hidden units; None: as the architecture says.
        inputs: the inputs, as `features.inputs` of a config; None: all numeric columns, and an embedding of each column
            of strings or categories.
        transforms: those of the numeric columns if `inputs` is None.
        query_rank: add each numeric column's rank among the rows of the query, if `inputs` is None.
        metrics: metrics of the evaluation set; the first one chooses the best epoch and is what `score` returns. None:
            NDCG@10, then MRR.
        optimizer: the key of a Keras optimizer, or `{key: ..., <parameters>}`.
        learning_rate: the learning rate, unless `optimizer` gives one.
        lr_schedule: the key of a schedule, or `{key: ..., <parameters>}`.
        epochs: number of epochs.
        batch_size: queries per batch.
        max_list_size: maximum number of rows of a query, in training and in metrics; None: no limit.
        truncation: which rows of a longer query are kept in training: `first`, `random` or `keep_relevant`.
        early_stopping: number of epochs without improvement after which training stops; True: 10. Or a mapping, as
            `training.early_stopping` of a config. It needs an evaluation set.
        random_state: a seed or a `RandomState`; None: another seed at every call of `fit`.
        precision: `float32`, `mixed_bfloat16` or `mixed_float16`.
        jit_compile: compile with XLA; "auto" leaves it to Keras.
        verbose: 0: print nothing; 1: print a line per epoch.

    Attributes:
        model_: the trained `RelevanceModel`, with the weights of its best epoch.
        config_: the config that was trained.
        evals_result_: `{"training": {name: [value of each epoch]}, "validation_0": {...}}`.
        best_iteration_: the epoch (from 0) whose weights were kept.
        n_features_in_: number of columns.
        feature_names_in_: the names of the columns, if X has names.
    """

    def __init__(
        self,
        loss: Spec = "lambda_loss",
        *,
        architecture: Spec = "dnn",
        hidden_units: Sequence[int] | None = None,
        dropout: float | None = None,
        inputs: Sequence[Mapping[str, Any]] | None = None,
        transforms: Sequence[Spec] = ("standardise",),
        query_rank: bool = False,
        metrics: Sequence[Spec] | None = None,
        optimizer: Spec = "adam",
        learning_rate: float = 1e-3,
        lr_schedule: Spec = "constant",
        epochs: int = 50,
        batch_size: int = 32,
        max_list_size: int | None = None,
        truncation: str = "first",
        early_stopping: bool | int | Mapping[str, Any] | None = None,
        random_state: Any = None,
        precision: str = "float32",
        jit_compile: bool | str = "auto",
        verbose: int = 0,
    ) -> None:
        self.loss = loss
        self.architecture = architecture
        self.hidden_units = hidden_units
        self.dropout = dropout
        self.inputs = inputs
        self.transforms = transforms
        self.query_rank = query_rank
        self.metrics = metrics
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.lr_schedule = lr_schedule
        self.epochs = epochs
        self.batch_size = batch_size
        self.max_list_size = max_list_size
        self.truncation = truncation
        self.early_stopping = early_stopping
        self.random_state = random_state
        self.precision = precision
        self.jit_compile = jit_compile
        self.verbose = verbose

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        qid: Any = None,
        group: Any = None,
        sample_weight: Any = None,
        eval_set: Any = None,
        eval_qid: Any = None,
        eval_group: Any = None,
    ) -> Self:
        """Trains on the rows of X.

        Args:
            X: [rows, columns]: an array, a sparse matrix, or a data frame; NaN is a missing value.
            y: the label of each row.
            qid: the query of each row; the rows of a query need not be adjacent. Without qid and group, a column `qid`
                of a data frame.
            group: the number of rows of each query, instead of qid.
            sample_weight: the weight of each row, or of each query (in the order of their first rows).
            eval_set: (X, y) of an evaluation set, or a list of such pairs; the last one chooses the best epoch.
            eval_qid: its qid, or a list of them.
            eval_group: its group, or a list of them.

        Raises:
            ValueError: one line for parameters or data that cannot be used.
        """
        train = rows_of(self, X, y, qid=qid, group=group, sample_weight=sample_weight, fitting=True)
        sets = [
            rows_of(self, *pair, qid=ids, group=sizes, name=f"eval_set[{i}]").columns
            for i, (pair, ids, sizes) in enumerate(pairs_of(eval_set, eval_qid, eval_group))
        ]
        if self.early_stopping and not sets:
            raise UserError("early_stopping: needs eval_set.")
        data = {"train": train.columns, "validation": sets[-1] if sets else None}
        config = load_config(config_of(self, train), data=data)
        with shown_log() if self.verbose else nullcontext():
            experiment = prepare(config)
            earlier = EvalSets(experiment, sets[:-1])
            done = fit(experiment, progress=progress_bar() if self.verbose else None, callbacks=[earlier])
        if done.interrupted:
            raise KeyboardInterrupt
        self.model_ = experiment.model
        self.config_ = without_data(config)
        self.evals_result_ = earlier.evals_result(done.epochs)
        self.best_iteration_ = done.best_epoch
        return self

    def predict(self, X: Any, qid: Any = None, group: Any = None) -> Array:
        """The score of each row before any final activation, [rows]; higher is better.

        qid or group is needed only if the score of a row depends on the other rows of its query.

        Raises:
            ValueError: for columns that differ from those of `fit`, or such a model without qid and group.
        """
        check_is_fitted(self)
        rows = rows_of(self, X, qid=qid, group=group, labelled=False)
        if rows.queries is None and self._reads_lists:
            raise UserError(
                "predict: the score of a row depends on its query: give qid, or group=[len(X)] if X is one query."
            )
        return self._scores(rows, np.arange(rows.size) // _BLOCK if rows.queries is None else rows.queries)

    def rank(self, X: Any, qid: Any = None, group: Any = None) -> Array:
        """The rank of each row in its query, 1 for the best, [rows]; without qid and group all rows are one query."""
        check_is_fitted(self)
        rows = rows_of(self, X, qid=qid, group=group, labelled=False)
        queries = np.zeros(rows.size, int) if rows.queries is None else rows.queries
        return ranks_in_queries(self._scores(rows, queries), queries)

    def score(self, X: Any, y: Any, qid: Any = None, group: Any = None) -> float:
        """The mean over queries of the first of `metrics`, NDCG@10 by default; negated if lower values are better."""
        check_is_fitted(self)
        rows = rows_of(self, X, y, qid=qid, group=group)
        name = metric_name(self.config_.model.metrics[0])
        value = FeatureExperiment.of_run(self.config_, self.model_).evaluate(rows.columns)[name]
        return -value if lower_is_better(name) else value

    def save(self, path: str | Path) -> None:
        """Writes the fitted ranker into a folder, which `ml4ir-losses evaluate` and `predict` read too."""
        check_is_fitted(self)
        save_estimator(self, Path(path))

    def export(
        self,
        path: str | Path,
        format: str = "saved_model",
        *,
        quantize: str | None = None,
        X: Any = None,
        mapping: Mapping[str, Any] | None = None,
    ) -> Exported:
        """Writes the fitted model for another runtime, compared with Keras before it is called done.

        Args:
            path: the folder that is written; there must be no such file or folder.
            format: `saved_model`, `onnx`, `litert` or `openvino`; `opensearch`, `elasticsearch`, `solr` or `vespa`.
            quantize: how the weights are quantised, such as `int8`; None: they are not.
            X: rows on which both are compared; None: rows are made up.
            mapping: for a search engine, what each column is there; None: a field of the same name.

        Raises:
            ValueError: where nothing was written, with the reason.
        """
        check_is_fitted(self)
        data = None if X is None else rows_of(self, X, labelled=False).columns
        exported: Exported = self.model_.export(path, format, quantize=quantize, data=data, mapping=mapping)
        return exported

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The ranker in a folder that `save` wrote.

        Raises:
            UserError: for any other folder.
        """
        ranker: Self = load_estimator(cls, Path(path))
        return ranker

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        return {**state, "model_": model_bytes(state["model_"])} if "model_" in state else state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({**state, "model_": model_of(state["model_"])} if "model_" in state else state)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.estimator_type = "ranker"
        tags.target_tags.required = True
        tags.input_tags.allow_nan = tags.input_tags.sparse = True
        return tags

    @property
    def _reads_lists(self) -> bool:
        """False if the model scores each row by itself."""
        key, _ = split_spec(ARCHITECTURES.kind, self.config_.model.architecture)
        inputs = self.model_.fitted
        return not ARCHITECTURES[key].trait("per_document") or any(i.reads_list or i.scope == "query" for i in inputs)

    def _scores(self, rows: Rows, queries: Array) -> Array:
        columns = {**rows.columns, rows.roles["query_id"]: queries}
        scores: Array = self.model_.predict_rows(columns, logits=True, batch_size=self.batch_size)
        return scores
