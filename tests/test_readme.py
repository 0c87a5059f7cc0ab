"""The README: its code and commands run, its tables name what exists."""

import re

import pytest

from markdown_blocks import ROOT, commands, run_commands, run_python

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.backend("tensorflow")
def test_code_and_commands_run(tmp_path):
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    run_python(["README.md"], tmp_path)
    quick = "--set training.epochs=1 --set data.options.queries=200 --set 'expected_metrics={}'"
    assert run_commands("README.md", tmp_path, quick) == ["train", "evaluate", "losses"]


@pytest.mark.parametrize("file", ["README.md", "CONTRIBUTING.md"])
def test_make_targets_exist_and_have_a_help_text(file):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    text = (ROOT / file).read_text(encoding="utf-8")
    targets = {line.split()[1] for line in commands(file) if line.startswith("make ")}
    targets |= set(re.findall(r"`make ([\w-]+)`", text))
    assert targets
    for target in targets:
        assert re.search(rf"^{target}:.*## .+", makefile, re.M), target


def test_extras_exist():
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    pages = [TEXT, (ROOT / "docs" / "getting-started.md").read_text(encoding="utf-8")]
    extras = [
        name for page in pages for names in re.findall(r'pip install "\.\[(.+?)\]"', page) for name in names.split(",")
    ]
    assert extras
    for name in extras:
        assert f'"{name}": ' in setup


def test_every_metric_is_named():
    from ml4ir_losses import list_metrics

    for entry in list_metrics():
        if entry.target.__module__.startswith("ml4ir_losses."):
            assert f"`{entry.key}`" in TEXT


def test_table_of_losses_has_every_key_under_its_type():
    from ml4ir_losses import list_losses

    table = TEXT.partition("| type | keys |")[2].partition("\n\n")[0]
    written = {(t, key) for t, keys in re.findall(r"^\| (\w+) \| (.+) \|$", table, re.M) for key in keys.split(", ")}
    own = [entry for entry in list_losses() if entry.target.__module__.startswith("ml4ir_losses.")]
    assert written == {(entry.loss_type, f"`{entry.key}`") for entry in own}
