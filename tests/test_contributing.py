"""CONTRIBUTING.md: its examples of a new loss and a new metric work in a copy of the repository."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from markdown_blocks import ROOT, blocks

COPIED = ("ml4ir_losses", "tests", "tools", "docs", "benchmarks", "README.md", "CONTRIBUTING.md", "pyproject.toml")
TESTS = ("tests/losses/test_oracle.py", "tests/losses/test_gradients.py", "tests/losses/test_properties.py")
METRIC_TESTS = ("tests/metrics/test_values.py", "tests/metrics/test_properties.py")


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the repository with the files of the examples, after their one command."""
    folder = tmp_path_factory.mktemp("contributing")
    for name in COPIED:
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    for _, text in blocks("CONTRIBUTING.md", "python"):
        path = re.match(r"# (\S+\.py)\n", text)
        if path:
            with (folder / path[1]).open("a", encoding="utf-8") as file:
                file.write("\n\n" + text)
    run(folder, "-m", "tools.generate")
    return folder


def run(folder, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTEST_ADDOPTS": ""}
    done = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.backend("tensorflow")
def test_new_loss_is_in_the_generated_files(copy):
    assert "### `top_hinge`" in (copy / "docs" / "losses.md").read_text(encoding="utf-8")
    assert "`top_hinge`" in (copy / "README.md").read_text(encoding="utf-8")
    assert "TopHingeLoss" in (copy / "ml4ir_losses" / "__init__.pyi").read_text(encoding="utf-8")


@pytest.mark.backend("tensorflow")
def test_new_loss_passes_the_tests_of_its_key(copy):
    passed = run(copy, "-m", "pytest", "-p", "no:cacheprovider", "-k", "top_hinge", *TESTS)
    assert int(re.search(r"(\d+) passed", passed)[1]) >= len(TESTS)


@pytest.mark.backend("tensorflow")
def test_new_loss_has_its_value(copy):
    (code,) = [text for _, text in blocks("CONTRIBUTING.md", "python") if not text.startswith("# ")]
    run(copy, "-c", code)


@pytest.mark.backend("tensorflow")
def test_new_metric_passes_the_tests_of_its_key(copy):
    assert 'R_PRECISION = "r_precision"' in (copy / "ml4ir_losses" / "keys.py").read_text(encoding="utf-8")
    passed = run(copy, "-m", "pytest", "-p", "no:cacheprovider", "-k", "r_precision", *METRIC_TESTS)
    assert int(re.search(r"(\d+) passed", passed)[1]) >= 40
