"""Every code block of the README runs, in the order in which it stands there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from markdown_blocks import ROOT, blocks, run_python
from ml4ir_losses.config.load import load_config

pytestmark = pytest.mark.backend("tensorflow")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working directory with the repository's configs and the README's own config."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "configs").symlink_to(ROOT / "configs")
    (folder / "shop.yaml").write_text(blocks("README.md", "yaml")[0][1])
    return folder


def commands():
    lines = [line for _, text in blocks("README.md", "console") for line in text.splitlines()]
    return [line[2:].partition("  #")[0].strip() for line in lines if line.startswith("$ ")]


def test_config_block_is_valid(folder):
    assert load_config(folder / "shop.yaml").name == "shop"


def test_code_blocks_and_commands_run(folder):
    run_python("README.md", folder)
    program = Path(sys.executable).with_name("ml4ir-losses")
    ran = []
    for command in commands():
        name, *arguments = command.split()
        if name != "make":  # the suite itself runs under make
            assert name == "ml4ir-losses"
            subprocess.run(f"{program} {' '.join(arguments)}", shell=True, cwd=folder, check=True)
            ran.append(arguments[0])
    assert ran == ["check", "train", "evaluate", "predict", "schema"]
    assert (folder / "ranked.csv").read_text().startswith("query_id,document_id,label,logit,score,rank\n")


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    for command in commands():
        if command.startswith("make "):
            assert re.search(rf"^{command.split()[1]}:", makefile, re.M)


def test_readme_names_every_metric_and_links_the_losses():
    from ml4ir_losses import list_metrics

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for entry in list_metrics():
        assert f"`{entry.key}`" in text
    for name in ("losses", "which-loss", "migrating"):
        assert f"(docs/{name}.md)" in text
        assert (ROOT / "docs" / f"{name}.md").exists()


def test_table_of_losses_lists_each_loss_under_its_type():
    from ml4ir_losses import list_losses

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text.partition("| type | keys |")[2].partition("\n\n")[0]
    written = {(t, key) for t, keys in re.findall(r"^\| (\w+) \| (.+) \|$", table, re.M) for key in keys.split(", ")}
    assert written
    assert written <= {(entry.loss_type, f"`{entry.key}`") for entry in list_losses()}
