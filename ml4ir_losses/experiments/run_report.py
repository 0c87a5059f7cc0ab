"""Reports of run folders and comparisons: `report.html`, and every plot as PNG in `plots/`.

What is wrong with a folder is said before Keras and matplotlib are imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml4ir_losses.config.load import AnyConfig, load_config
from ml4ir_losses.core.checksums import run_file
from ml4ir_losses.core.errors import ConfigError, DataError, UserError
from ml4ir_losses.core.files import write_atomically
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.evaluation.comparison import Comparison
from ml4ir_losses.experiments.run_status import not_finished

if TYPE_CHECKING:
    from ml4ir_losses.experiments.experiment import Experiment
    from ml4ir_losses.experiments.run_folder import RunFolder
    from ml4ir_losses.report.page import Page

COMPARISON = "compare.json"
MAX_COMPARISON = 64 << 20  # bytes
Folders = str | Path | Sequence[str | Path]


@dataclass
class Reported:
    """A folder that a report can be made of: that of a run with its config, or of a comparison with its content."""

    path: Path
    config: AnyConfig | None = None
    comparison: dict[str, Any] | None = None


def write_report(runs: Folders, output: str | Path | None = None) -> Path:
    """Writes the report of a run or a comparison, or one page of several runs side by side; returns its path.

    Args:
        runs: a folder of a run or of a comparison, or several run folders.
        output: the HTML file; by default `report.html` in the folder. Needed for several runs.

    Raises:
        UserError: for a folder without a finished run of this version, or several runs without `output`.
    """
    folders = open_folders(runs, output)
    return _write(Path(output or folders[0].path / "report.html"), lambda: _page(folders))


def open_folders(runs: Folders, output: str | Path | None = None) -> list[Reported]:
    """The folders of a report, checked.

    Raises:
        UserError: as `write_report` does.
    """
    folders = [_open(Path(run)) for run in ([runs] if isinstance(runs, (str, Path)) else runs)]
    if not folders:
        raise UserError("report: no run folder is given.")
    if len(folders) > 1:
        for folder in folders:
            if folder.comparison is not None:
                raise UserError(f"{folder.path}: is a comparison, which has its own page; give run folders.")
        if output is None:
            raise UserError("Several runs make one page; name its file: --output FILE.")
    return folders


def _open(path: Path) -> Reported:
    if (path / COMPARISON).is_file():
        return Reported(path, comparison=_comparison(path))
    if not path.exists():
        raise UserError(f"{path}: there is no such folder.")
    if not (path / "config.yaml").is_file():
        raise UserError(f"{path}: is not a run folder; it has no config.yaml.")
    if not (path / "metrics.json").is_file():
        raise UserError(not_finished(path) or f"{path}: the run is not finished; it has no metrics.json.")
    try:
        return Reported(path, config=load_config(run_file(path, "config.yaml"), alone=True))
    except ConfigError as error:
        raise UserError(f"{path}: its config is of another version of ml4ir-losses ({error})") from None


def _comparison(path: Path) -> dict[str, Any]:
    file = run_file(path, COMPARISON, MAX_COMPARISON)
    try:
        return Comparison.from_json(file.read_bytes()).model_dump(mode="json")
    except (OSError, DataError) as error:
        raise UserError(f"{file}: is not a comparison of this version of ml4ir-losses ({error}).") from None


def _page(folders: Sequence[Reported]) -> Page:
    if folders[0].comparison is not None:
        from ml4ir_losses.report.compare_page import compare_page

        return compare_page(folders[0].comparison)
    from ml4ir_losses.experiments.run_data import collect
    from ml4ir_losses.report.run_page import run_page
    from ml4ir_losses.report.runs_page import runs_page

    runs = [collect(folder.path, folder.config) for folder in folders if folder.config is not None]
    return run_page(runs[0]) if len(runs) == 1 else runs_page(runs)


def _write(file: Path, make_page: Callable[[], Page]) -> Path:
    """Writes a page, and its plots as PNG beside it: in `plots`, or `NAME-plots` for a file that is not report.html."""
    from ml4ir_losses.report.drawing import png, style
    from ml4ir_losses.report.page import render

    with style():
        page = make_page()
        html = render(page)
        write_atomically(file, lambda path: path.write_text(html, encoding="utf-8"))
        plots = file.with_name("plots" if file.name == "report.html" else f"{file.stem}-plots")
        for plot in page.plots:
            plots.mkdir(exist_ok=True)
            write_atomically(plots / f"{plot.name}.png", partial(_write_bytes, png(plot.figure)))
    return file


def _write_bytes(content: bytes, path: Path) -> None:
    path.write_bytes(content)


def finish_report(experiment: Experiment, folder: RunFolder) -> None:
    """Measures what columns do, and writes the report of a finished run; a failure is only logged."""
    with _logged_failure(folder.path):
        for name, measured in _measured(experiment, folder.path).items():
            if measured is not None:
                folder.write_json(name, measured)
        write_report(folder.path)


def report_comparison(folder: Path) -> None:
    """Writes the report of a finished comparison; a failure is only logged."""
    with _logged_failure(folder):
        write_report(folder)


@contextmanager
def _logged_failure(folder: Path) -> Iterator[None]:
    """Logs a failure in one line: what was trained is complete, and nothing may lose it now."""
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        LOGGER.warning("report.html was not written (%s); ml4ir-losses report %s tries again.", reason, folder)
        LOGGER.debug("The report failed.", exc_info=True)


def _measured(experiment: Experiment, folder: Path) -> dict[str, dict[str, Any] | None]:
    """The importance of the columns, and explained queries, of the last evaluated part; nothing for texts."""
    from ml4ir_losses.data.truncation import Truncation
    from ml4ir_losses.experiments.explained_queries import explained_queries
    from ml4ir_losses.experiments.feature_experiment import FeatureExperiment
    from ml4ir_losses.experiments.importance import permutation_importance

    if not isinstance(experiment, FeatureExperiment) or not experiment.evaluated:
        return {}
    part = experiment.evaluated[-1]
    data, limit = experiment.queries[part], Truncation(experiment.config.data.max_list_size)
    return {
        "importance.json": permutation_importance(experiment.model, experiment.metric_set, data, limit),
        "explanations.json": explained_queries(experiment, part, folder),
    }
