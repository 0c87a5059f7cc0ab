"""The command line: exit codes, one line for bad input, no half-written run folder."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import yaml

from small import config, write_csv, write_splits

pytestmark = [pytest.mark.backend("tensorflow"), pytest.mark.usefixtures("eager_steps")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = write_splits(tmp_path_factory.mktemp("data"))
    (folder / "c.yaml").write_text(yaml.safe_dump(config(folder)))
    return folder


@pytest.fixture(scope="module")
def run_folder(folder, tmp_path_factory):
    from ml4ir_losses.experiments.train import train

    return train(config(folder), tmp_path_factory.mktemp("runs") / "run").path


def test_train_prints_the_metrics_beside_the_baselines(run, folder, tmp_path):
    code, out, err = run("train", folder / "c.yaml", "--run-dir", tmp_path / "run", "--set", "training.epochs=1")
    assert code == 0
    for text in (
        "ndcg_5",
        "model",
        "random",
        "original order",
        "best feature (price descending)",
        f"run folder: {tmp_path / 'run'}",
    ):
        assert text in out
    assert "epoch 1/1" in err
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["training"]["epochs"] == 1


def test_missed_expected_metric_gives_exit_code_1_and_keeps_the_run(run, folder, tmp_path):
    code, _, err = run(
        "train", folder / "c.yaml", "--run-dir", tmp_path / "run", "--set", "expected_metrics={test: {mrr: 1.1}}"
    )
    assert code == 1
    assert "expected_metrics.test: mrr is" in err
    assert (tmp_path / "run" / "metrics.json").exists()


@pytest.mark.graph
def test_evaluate_predict_and_check_print_and_write_results(run, folder, run_folder, tmp_path):
    code, out, _ = run("evaluate", run_folder, "--data", folder / "test.csv")
    assert code == 0
    assert f"{json.loads((run_folder / 'metrics.json').read_text())['test']['mrr']:.4f}" in out
    code, out, _ = run("predict", run_folder, "--data", folder / "test.csv", "--output", tmp_path / "p.csv")
    assert code == 0
    assert (tmp_path / "p.csv").read_bytes() == (run_folder / "predictions.csv").read_bytes()
    code, out, _ = run("check", folder / "c.yaml", "--set", "data.max_list_size=4")
    assert code == 0
    for text in ("parameters", "longest", "dropped", "documents per second", "train", "validation", "test"):
        assert text in out


def test_strict_findings_are_bad_data(run, folder, tmp_path):
    same = ("--set", "data.validation=test.csv")
    line = "test: every query is in validation too, with the same documents"
    code, out, _ = run("check", folder / "c.yaml", *same)
    assert code == 0
    assert line in out
    for command in (("check",), ("train", "--run-dir", tmp_path / "run")):
        code, _, err = run(*command, folder / "c.yaml", *same, "--strict")
        assert code == 2
        assert f"error: 1 finding (strict): {line}" in err
    assert not (tmp_path / "run").exists()


def test_lists_print_brackets_as_they_are(run):
    assert "Clips to [min, max]." in run("transforms")[1]


def test_losses_and_schema_commands_print_keys_and_parameters(run):
    code, out, _ = run("losses")
    assert code == 0
    assert "softmax_cross_entropy" in out
    code, out, _ = run("losses", "softmax_loss")
    assert "softmax_cross_entropy (listwise), also softmax_loss" in out
    assert "Bruch et al." in out
    assert run("losses", "softmx")[0] == 2
    schema = json.loads(run("schema")[1])
    kinds = [schema["$defs"][one["$ref"].rpartition("/")[2]] for one in schema["anyOf"]]
    assert ["features" in kind["properties"] for kind in kinds] == [True, False]


HEADER = "query_id,doc,label,clicked,price,brand,title,segment,shown,w\n"
ROW = "q{q},d,{label},0,{price},b,red,new,1,1\n"


def rows(*changes):
    """A valid file with further lines."""
    good = [ROW.format(q=q, label=q % 3 - 0 if d else 1, price=0.5) for q in range(4) for d in range(3)]
    return HEADER + "".join([*good, *changes])


@pytest.mark.parametrize(
    ("content", "override", "message"),
    [
        (None, "data.train=nope.csv", "nope.csv does not exist"),
        ("", "", "bad.csv is empty"),
        (HEADER, "", "bad.csv has a header and no data rows"),
        (rows("q9,1,2\n"), "", "bad.csv, line 14: 3 cell(s), the header has 10"),
        (rows(ROW.format(q=9, label="abc", price=1)), "", "bad.csv, line 14, column 'label': 'abc' is not a number"),
        (rows(ROW.format(q=9, label="", price=1)), "", "bad.csv, line 14, column 'label'"),
        (
            rows(ROW.format(q=9, label=1, price="nan")),
            "data.options.na_values=[]",
            "bad.csv, line 14, column 'price': 'nan' is not finite",
        ),
        (rows(ROW.format(q=9, label=1, price="inf")), "", "bad.csv, line 14, column 'price': 'inf' is not finite"),
        (rows(ROW.format(q=9, label=-1, price=1)), "", "bad.csv, line 14: query 'q9' has no documents"),
        (rows(ROW.format(q=9, label=200, price=1)), "", "The gain 'pow2_minus_1' takes labels up to 100"),
        (HEADER + ROW.format(q=1, label=1, price=1) * 3, "", "every label of the training split is 1"),
        (rows(), "features.inputs.0.name=prize", "no column 'prize' (features.inputs). Did you mean 'price'?"),
        (rows(), "model.loss=listmle", "model.loss: Unknown loss 'listmle'. Did you mean 'list_mle'?"),
        (rows(), "model.metrics=[ndgc]", "model.metrics.0: Unknown metric 'ndgc'. Did you mean 'ndcg'?"),
        (rows(), "model.loss={key: list_mle, k: 3}", "model.loss: loss 'list_mle' has no parameter 'k'."),
        ("\x00\x01\x02", "", "bad.csv"),
    ],
)
def test_invalid_input_gives_one_line_exit_code_2_and_no_run_folder(run, folder, tmp_path, content, override, message):
    sets = ["--set", override] if override else []
    if content is not None:
        (tmp_path / "bad.csv").write_text(content)
        sets += ["--set", f"data.train={tmp_path / 'bad.csv'}"]
    code, _, err = run("train", folder / "c.yaml", "--run-dir", tmp_path / "run", *sets)
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_svmlight_errors_name_the_line(run, tmp_path):
    write_csv(tmp_path / "x.csv")
    svm = {"data": {"train": str(tmp_path / "t.txt")}, "model": {"loss": "list_mle"}}
    svm["features"] = {"query_id": "qid", "inputs": [{"name": "f*", "type": "numeric"}]}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(svm))
    for line, message in [("1 qid:2 1:x", "line 3"), ("1 1:2", "line 3"), ("1 qid:2 1:nan", "line 3")]:
        (tmp_path / "t.txt").write_text(f"0 qid:1 1:1\n1 qid:1 1:2\n{line}\n")
        code, _, err = run("train", tmp_path / "c.yaml", "--run-dir", tmp_path / "run")
        assert code == 2
        assert message in err
        assert not (tmp_path / "run").exists()


def test_invalid_usage_gives_exit_code_2(run, folder, run_folder, tmp_path):
    assert run("train")[0] == 2
    assert run("nope")[0] == 2
    assert run("train", tmp_path / "nope.yaml")[0] == 2
    code, _, err = run("train", folder / "c.yaml", "--run-dir", run_folder)
    assert code == 2
    assert "a run never overwrites another" in err
    code, _, err = run("evaluate", tmp_path, "--data", folder / "test.csv")
    assert code == 2
    assert "is not a run folder" in err
    code, _, err = run("predict", run_folder, "--data", folder / "test.csv", "--output", tmp_path / "no" / "p.csv")
    assert code == 2
    assert "cannot be written" in err


def test_help_imports_no_backend():
    code = (
        "import sys; sys.argv = ['ml4ir-losses', '--help']; from ml4ir_losses.cli import main\n"
        "try: main()\n"
        "except SystemExit as stop:\n"
        "    loaded = [m for m in ('tensorflow', 'keras', 'jax', 'torch', 'pydantic') if m in sys.modules]\n"
        "    sys.exit(stop.code or len(loaded))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "predict" in result.stdout


def test_ctrl_c_keeps_the_best_weights_and_marks_the_metrics(folder, tmp_path):
    command = [sys.executable, "-m", "ml4ir_losses.cli", "train", folder / "c.yaml", "--run-dir", tmp_path / "run"]
    process = subprocess.Popen(
        [*map(str, command), "--set", "training.epochs=100000"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    deadline = time.monotonic() + 120
    try:
        while process.poll() is None and time.monotonic() < deadline:
            if "epoch      3/" in process.stderr.readline():
                process.send_signal(signal.SIGINT)
                break
        process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["interrupted"] is True
    assert set(metrics) == {"validation", "test", "interrupted"}
    assert (tmp_path / "run" / "model.keras").exists()


QUICK = "--set training.epochs=1 --set training.jit_compile=false"


def shell(folder, run_folder, ending):
    """Exit code of the training and what it wrote to stderr, its stdout redirected."""
    command = f"{sys.executable} -m ml4ir_losses.cli train {folder / 'c.yaml'} --run-dir {run_folder} {QUICK}"
    script = f"set -o pipefail; {command} {ending}"
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert "Traceback" not in result.stderr
    assert "Exception ignored" not in result.stderr
    assert (run_folder / "metrics.json").exists()
    assert (run_folder / "model.keras").exists()
    return result.returncode, result.stderr


def test_closed_pipe_at_stdout_keeps_exit_code_0(folder, tmp_path):
    code, err = shell(folder, tmp_path / "run", "| head -0")
    assert code == 0
    assert "stdout" not in err


def test_full_disk_at_stdout_gives_one_line_and_exit_code_1(folder, tmp_path):
    code, err = shell(folder, tmp_path / "run", "> /dev/full")
    assert code == 1
    assert err.splitlines()[-1] == "failed: RunError: stdout cannot be written (No space left on device)."


def test_closed_stdout_keeps_exit_code_0(folder, tmp_path):
    assert shell(folder, tmp_path / "run", ">&-")[0] == 0


def test_model_that_exceeds_the_memory_gives_one_line_and_no_run_folder(run, folder, tmp_path):
    wide = "features.inputs.brand.embedding_dim=100000000000"
    started = time.monotonic()
    code, _, err = run("train", folder / "c.yaml", "--run-dir", tmp_path / "run", "--set", wide)
    assert code == 2
    assert re.fullmatch(r"error: model: it would have [\d,]+ parameters, and training needs [\d.,]+ TiB for .*\n", err)
    assert not (tmp_path / "run").exists()
    assert time.monotonic() - started < 20
    code, _, err = run("train", folder / "c.yaml", "--set", wide, "--set", "model.architecture=gam")
    assert (code, err) == (2, "error: model: it has more parameters than fit into memory.\n")


def test_a_table_too_wide_for_the_terminal_leaves_out_optional_columns(monkeypatch, capsys):
    from ml4ir_losses.cli.output import print_table

    columns, rows = ["loss", "ndcg", "seconds", "MiB"], [["softmax_cross_entropy", "0.8097", "23", "34"]]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "40")
    print_table(columns, rows, "", optional=["MiB", "seconds", "ndcg"])
    shown = capsys.readouterr().out
    assert "0.8097" in shown
    assert "│ 23" not in shown
    assert shown.splitlines()[-1] == "not shown in this width: MiB, seconds"
    monkeypatch.setenv("COLUMNS", "80")
    print_table(columns, rows, "", optional=["MiB", "seconds", "ndcg"])
    assert "│ 23" in capsys.readouterr().out
