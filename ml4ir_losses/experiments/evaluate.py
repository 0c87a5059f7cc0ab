"""Evaluates a run on new data, predicts with it, and validates a config without training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from ml4ir_losses.config.load import AnyConfig, load_config
from ml4ir_losses.config.search_space import check_search_space
from ml4ir_losses.core.errors import UserError, check_choice, check_whole
from ml4ir_losses.evaluation.evaluation import Evaluation
from ml4ir_losses.evaluation.list_metrics import CUTOFFS
from ml4ir_losses.experiments.evaluation_options import Options
from ml4ir_losses.experiments.experiment import prepare
from ml4ir_losses.experiments.feature_experiment import FeatureExperiment
from ml4ir_losses.experiments.open_run import open_run


def evaluate(
    run: str | Path,
    data: Any,
    *,
    group_by: str | None = None,
    baseline: str | Path | None = None,
    convention: str | None = None,
    cutoffs: Sequence[int] = CUTOFFS,
    positions: str | None = None,
    match: str | None = None,
    explain_metric: str | None = None,
    progress: Callable[[int], object] | None = None,
) -> Evaluation:
    """How good a run is on labelled data; `evaluate(...).metrics` is a dict of the means.

    Args:
        run: the run folder.
        data: a file, or data in memory as `train` takes them; for a text run also `retrieval` or `reranking`.
        group_by: a column that describes queries: the metrics of each of its values too.
        baseline: what the run is compared with, query by query: another run folder, a TREC run file, or a column of the
            data, by which documents are ranked from the highest value, or with a leading minus from the lowest.
        convention: `tf_ranking`, `lightgbm`, `xgboost`, `sklearn`, `trec_eval` or `allrank`: metrics as there.
        cutoffs: the metrics of the config come at these cut-offs too.
        positions: the column of shown ranks; by default `features.positions` of the config, where the data have it.
        match: the column that tells how well a document matches the query, for ml4ir's failures to rank matches.
        explain_metric: a metric, such as `ndcg_10`, whose gap between our convention and the other is explained.
        progress: called with the number of queries so far.

    Raises:
        UserError, DataError: for a folder that is not a run, or invalid data or options.
    """
    for cutoff in cutoffs:
        check_whole(1, cutoffs=cutoff)
    options = Options(group_by, baseline, convention, tuple(cutoffs), positions, match, explain_metric)
    experiment = open_run(run)
    if isinstance(experiment, FeatureExperiment):
        from ml4ir_losses.experiments.feature_evaluation import evaluate_features

        return evaluate_features(experiment, str(run), data, options, progress)
    from ml4ir_losses.experiments.text_evaluation import evaluate_texts
    from ml4ir_losses.experiments.text_experiment import TextExperiment

    return evaluate_texts(cast(TextExperiment, experiment), str(run), data, options)


def predict(
    run: str | Path,
    data: Any,
    output: str | Path,
    *,
    format: str = "csv",
    qrels: str | Path | None = None,
) -> int:
    """Writes `query_id,document_id,label,logit,score,rank` of every document; the label column may be missing.

    `data` is a file or data in memory. Lists are not truncated. A run over pairs of texts writes
    `anchor,positive,cosine` and the probability of each class where it has classes. Returns the number of rows.

    Args:
        run: the run folder.
        data: a file, or data in memory.
        output: the file that is written.
        format: `trec` writes a TREC run file, `query Q0 document rank logit name`, of documents with features.
        qrels: a TREC qrels file that is written too, from the labels.

    Raises:
        UserError, DataError: for a folder that is not a run, or invalid data.
    """
    check_choice(("csv", "trec"), format=format)
    experiment = open_run(run)
    if format == "csv" and qrels is None:
        return experiment.predict(data, output)
    if format == "csv" or not isinstance(experiment, FeatureExperiment):
        raise UserError("TREC files are written for documents with features, with the format `trec`.")
    from ml4ir_losses.experiments.trec_files import write_trec_files

    return write_trec_files(experiment, data, output, qrels)


def check(
    config: str | Path | Mapping[str, Any] | AnyConfig,
    *,
    data: Any = None,
    overrides: Iterable[str] = (),
    seed: int | None = None,
    strict: bool = False,
) -> dict[str, Any]:
    """Validates a config and its data without training: `{"parameters": n, "splits": {...}, "findings": [...]}`.

    `data`: data in memory in the place of the config's files, as in `train`; `strict`: findings are errors.

    Raises:
        ConfigError, DataError: one line for what is wrong.
    """
    checked = load_config(config, overrides, seed, data)
    check_search_space(checked)
    return prepare(checked, strict).summary()
