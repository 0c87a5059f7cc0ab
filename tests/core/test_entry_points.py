"""Other packages: what their entry points bring works in a config, and a broken one breaks nothing else."""

import json

import pytest
import yaml

from plugins import command_line, command_lines, install, install_outside_package, python

pytestmark = pytest.mark.backend("tensorflow")

DATA = {"format": "outside_reader", "train": "train", "test": "test", "batch_size": 6}
FEATURES = {
    "data": {**DATA, "options": {"queries": 20}},
    "features": {
        "inputs": [
            {"name": "price", "type": "numeric", "transforms": ["log1p", {"key": "outside_transform", "factor": 2.0}]}
        ]
    },
    "model": {
        "architecture": {"key": "outside_scorer", "width": 3},
        "loss": {"key": "outside_loss", "temperature": 2.0},
        "aux_losses": [{"key": "pairwise_logistic", "lambda_weight": "outside_weight"}],
        "metrics": ["outside_metric"],
    },
    "training": {"epochs": 1},
}
TEXTS = {
    "data": {**DATA, "columns": {"anchor": "a", "positive": "b"}},
    "model": {"architecture": {"key": "outside_texts", "width": 4}, "loss": "multiple_negatives_ranking"},
    "training": {"epochs": 1},
}
ENCODER = {
    "data": {**TEXTS["data"], "batching": "outside_batching"},
    "model": {
        "architecture": {"key": "bi_encoder", "encoder": {"key": "outside_encoder", "width": 4}},
        "loss": "multiple_negatives_ranking",
    },
    "training": {"epochs": 1},
}
CONFIGS = {"features": FEATURES, "texts": TEXTS, "encoder": ENCODER}


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    return install_outside_package(tmp_path_factory.mktemp("outside"))


def test_entry_points_add_every_kind_of_key_to_a_config(outside, tmp_path):
    for name, config in CONFIGS.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(config))
    trained = command_lines(
        outside, *(["train", tmp_path / f"{name}.yaml", "--run-dir", tmp_path / name] for name in CONFIGS)
    )
    assert trained.returncode == 0, trained.stderr
    assert "outside_metric" in trained.stdout
    (tmp_path / "texts.csv").write_text("text\nred hat\nblue\n")
    texts = ["--data", tmp_path / "texts.csv", "--output", tmp_path / "e.npy"]
    reloaded = command_lines(  # another process, which imports the package when it loads the model
        outside,
        ["encode", tmp_path / "texts", *texts],
        ["encode", tmp_path / "encoder", *texts],
        ["evaluate", tmp_path / "features", "--data", "test"],
    )
    assert reloaded.returncode == 0, reloaded.stderr
    assert reloaded.stdout.count("2 embeddings of 4 dimensions") == 2
    assert "outside_metric" in reloaded.stdout


def test_entry_points_add_commands_and_are_listed(outside):
    done = command_lines(outside, ["outside-command", "--name", "world"], ["encoders", "outside_encoder"])
    assert done.returncode == 0, done.stderr
    assert "hello world" in done.stdout
    assert "width (required)" in done.stdout


MISFITS = [
    ({"architecture": {"key": "outside_texts", "witdh": 4}}, "has no parameter 'witdh'. Did you mean 'width'?"),
    ({"architecture": {"key": "outside_texts", "width": "4"}}, "`width` must be a whole number. Received: width='4'"),
    (
        {"loss": "denoising_auto_encoder"},
        "needs model.architecture 'denoising_auto_encoder'. Received: 'outsi",
    ),
    ({"loss": {"key": "adaptive_layer", "loss": "cosent"}}, "reads the embeddings of every layer"),
]


def test_config_that_does_not_fit_an_outside_architecture_gets_one_line(outside):
    code = (
        "import json, sys; from ml4ir_losses import ConfigError, load_config\n"
        "for config in json.loads(sys.argv[1]):\n"
        "    try: load_config(config)\n"
        "    except ConfigError as error: print(error)"
    )
    configs = [{**TEXTS, "model": {**TEXTS["model"], **change}} for change, _ in MISFITS]
    lines = python(outside, code, json.dumps(configs)).stdout.splitlines()
    assert len(lines) == len(MISFITS)
    for line, (_, message) in zip(lines, MISFITS, strict=True):
        assert message in line


BROKEN = """
[ml4ir_losses.losses]
broken_loss = no_such_module:Loss
list_mle = no_such_module:Loss
no_function = keyword:kwlist
[ml4ir_losses.commands]
broken-command = no_such_module:command
"""


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("broken")
    install(folder, "broken-package", BROKEN)
    return folder


def test_broken_entry_point_gives_one_line_with_its_package(broken):
    done = command_line(broken, "losses", "broken_loss")
    assert done.returncode == 2
    error = done.stderr.strip().splitlines()[-1]
    assert "The loss 'broken_loss' of the package 'broken-package' cannot be loaded (ModuleNotFoundError" in error
    assert "Traceback" not in done.stderr
    assert "is neither a class nor a function: keyword:kwlist" in command_line(broken, "losses", "no_function").stderr


def test_broken_entry_point_leaves_other_keys_usable(broken):
    done = command_line(broken, "losses", "mse")
    assert done.returncode == 0
    assert done.stdout.startswith("mean_squared_error")
    assert "The command 'broken-command' of the package 'broken-package' cannot be loaded" in done.stderr
    listed = command_line(broken, "losses")
    assert listed.returncode == 0
    assert "softmax_cross_entropy" in listed.stdout
    assert "It is left out." in listed.stderr
    assert "Traceback" not in listed.stderr


def test_entry_point_cannot_replace_a_key_of_this_package(broken):
    code = "from ml4ir_losses import get_loss; print(type(get_loss('list_mle')).__module__)"
    done = python(broken, code)
    assert done.stdout.strip().startswith("ml4ir_losses."), done.stderr
    assert "The loss 'list_mle' of the package 'broken-package' is left out" in command_line(broken, "losses").stderr
