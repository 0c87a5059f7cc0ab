import pytest

from ml4ir_losses.report import drawing
from ml4ir_losses.report.compare_page import compare_page
from ml4ir_losses.report.page import render
from ml4ir_losses.report.run_page import run_page
from ml4ir_losses.report.runs_page import runs_page
from report.examples import EMPTY, comparison, row, run_data, text_run_data


@pytest.fixture(scope="session")
def pages():
    """Pages and their HTML by name; drawn once, since figures take most of the time."""
    other = run_data(folder="runs/b", settings={"model.loss": "list_mle", "training.seed": 1})
    with drawing.style():
        made = {
            "run": run_page(run_data()),
            "text run": run_page(text_run_data()),
            "empty run": run_page(run_data(**EMPTY)),
            "runs": runs_page([run_data(), other]),
            "runs without metrics": runs_page([run_data(metrics={}), run_data(folder="b", metrics={}, history={})]),
            "comparison": compare_page(comparison()),
            "comparison of one": compare_page(comparison(rows=[row("softmax_cross_entropy", 0.5)], own=None)),
        }
        return {name: (page, render(page)) for name, page in made.items()}
