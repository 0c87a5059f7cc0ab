"""The command `export`: runs in folders, the data that they are checked on, one line for what is wrong."""

import json
import shutil
import sys

import pytest
import yaml

from small import config, write_splits

pytestmark = [pytest.mark.backend("tensorflow"), pytest.mark.usefixtures("columns_alone")]


@pytest.fixture(scope="module")
def folders(tmp_path_factory, eager):
    """The data, and a finished run on them."""
    from ml4ir_losses.experiments.train import train

    data = write_splits(tmp_path_factory.mktemp("data"))
    with eager():
        run = train(config(data, training={"epochs": 1}), tmp_path_factory.mktemp("runs") / "run", progress=False)
    return data, run.path


@pytest.fixture
def run_folder(folders, tmp_path):
    return shutil.copytree(folders[1], tmp_path / "run")


def test_export_of_a_run_is_checked_on_its_test_split_and_lies_in_the_run_folder(run, run_folder):
    code, out, _ = run("export", run_folder)
    assert code == 0
    assert "largest difference from Keras by number of documents" in out
    assert "test.csv" in out
    record = json.loads((run_folder / "export" / "saved_model" / "export.json").read_text())
    assert record["checked"]["tolerance"] == 1e-5
    code, _, _ = run("evaluate", run_folder, "--data", "absent.csv")
    assert code == 2  # not for the foreign folder in it, which changes nothing
    code, _, err = run("export", run_folder)
    assert code == 2
    assert err.count("\n") == 1
    assert "saved_model: exists already; an export is written into a new folder" in err


def test_export_without_the_data_of_the_run_says_that_rows_are_made_up(run, run_folder, tmp_path):
    loaded = yaml.safe_load((run_folder / "config.yaml").read_text())
    loaded["data"]["directory"] = str(tmp_path / "gone")
    (run_folder / "config.yaml").write_text(yaml.safe_dump(loaded))
    code, out, err = run("export", run_folder, "--output", tmp_path / "new")
    assert code == 0
    assert "the data of the run cannot be read; made-up rows are compared. Give --data." in err
    assert "made-up rows" in out
    assert (tmp_path / "new" / "saved_model.pb").exists()


def test_wrong_calls_give_one_line_and_write_nothing(run, run_folder, tmp_path, monkeypatch):
    status = json.loads((run_folder / "status.json").read_text())
    (tmp_path / "not a run").mkdir()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for arguments, message in {
        (run_folder, "--format", "onix"): "Unknown format 'onix'. Did you mean 'onnx'",
        (run_folder, "--format", "onnx"): 'needs the package onnxruntime: pip install "ml4ir-losses[onnx]"',
        (run_folder, "--quantize", "int9"): "int9",
        (run_folder, "--data", tmp_path / "absent.csv"): "absent.csv",
        (tmp_path / "not a run",): "is not a run folder",
    }.items():
        code, _, err = run("export", *arguments)
        assert code == 2, arguments
        assert message in err
        assert err.startswith("error: ")
        assert err.count("\n") == 1
    (run_folder / "status.json").write_text(json.dumps({**status, "state": "interrupted"}))
    code, _, err = run("export", run_folder)
    assert code == 2
    assert "the run is not finished" in err
    (run_folder / "status.json").write_text(json.dumps(status))
    (run_folder / "files.json").unlink()
    (run_folder / "model.keras").write_bytes(b"of another version")
    code, _, err = run("export", run_folder)
    assert code == 2
    assert "model.keras: is not a model that can be loaded" in err
    assert not (run_folder / "export").exists()
