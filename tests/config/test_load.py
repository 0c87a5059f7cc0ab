"""The config: what is accepted, and the one line for what is not."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ml4ir_losses.config.checks import metric_name
from ml4ir_losses.config.load import dump_config, load_config
from ml4ir_losses.config.schema import Config
from ml4ir_losses.core.errors import ConfigError
from small import config

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


def error(tmp_path, *overrides, **sections):
    with pytest.raises(ConfigError) as info:
        load_config(config(tmp_path, **sections), overrides)
    message = str(info.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_shipped_config_is_valid(path):
    assert load_config(path).name == path.stem


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("trainig.epochs=3", "trainig: unknown 'trainig'. Did you mean 'training'? Allowed: name, data,"),
        ("training.epoch=3", "training.epoch: unknown 'epoch'. Did you mean 'epochs'?"),
        ("training.epochs=many", "training.epochs: input should be a valid integer"),
        ("training.epochs=0", "training.epochs: input should be greater than or equal to 1. Received: 0."),
        ("training.early_stopping={monitor: val_ndcg}", "Did you mean 'val_ndcg_5'? Allowed: val_loss, val_ndcg_5"),
        ("data.batchsize=3", "data.batchsize: unknown 'batchsize'. Did you mean 'batch_size'?"),
        ("data.format=svmlite", "data.format: Unknown data format 'svmlite'. Did you mean 'svmlight'?"),
        ("features.inputs.price.transfroms=[]", "features.inputs.0.transfroms: unknown 'transfroms'. Did you mean"),
        ("features.inputs.0.type=numerc", "features.inputs.0.type: unknown 'numerc'. Did you mean 'numeric'?"),
        (
            "features.inputs.0.transforms=[logp]",
            "features.inputs.0.transforms.0: Unknown transform 'logp'. Did you mean 'log1p'?",
        ),
        ("features.inputs.0.transforms=[{key: clip, min: 3, max: 1}]", "transforms.0: min 3 is above max 1."),
        (
            "features.inputs.0.transforms=[{key: clip, min: a}]",
            "transforms.0: `min` must be None or a number. Received",
        ),
        ("features.inputs.0.transforms=[clip]", "features.inputs.0.transforms.0: clip needs min, max or both."),
        (
            "features.inputs=[{name: x, type: date, refrence: newest}]",
            "features.inputs.0.refrence: unknown 'refrence'.",
        ),
        (
            "features.inputs.0.transforms=[z_score, robust]",
            "inputs.0.transforms.1: robust is fitted on the training rows",
        ),
        ("model.feature_dropout=1", "model.feature_dropout: input should be less than 1"),
        ("features.inputs.0.scope=query", None),
        ("features.inputs=[]", "features.inputs: list should have at least 1 item"),
        ("model.loss=listmle", "model.loss: Unknown loss 'listmle'. Did you mean 'list_mle'? Allowed: adaptive_layer"),
        ("model.loss={key: list_mle, temprature: 2}", "has no parameter 'temprature'. Did you mean 'temperature'?"),
        ("model.loss={key: list_mle, temperature: -2}", "model.loss: `temperature` must be a number above 0."),
        ("model.loss={temperature: 2}", "model.loss: "),
        ("model.loss={key: list_mle, propensity: power}", "model.loss.propensity: needs features.positions"),
        ("model.aux_losses=[sigmoid]", "model.aux_losses.0: Unknown loss 'sigmoid'. Did you mean"),
        ("model.metrics=[ndgc]", "model.metrics.0: Unknown metric 'ndgc'. Did you mean 'ndcg'?"),
        ("model.metrics=[{key: ndcg, topn: 0}]", "model.metrics.0: `topn` must be None or a whole number"),
        (
            "model.metrics=[{key: mrr}, {key: mrr, relevance_threshold: 2}]",
            "model.metrics: two metrics are called 'mrr'",
        ),
        ("features.inputs.0.name=mask", "an input cannot be called 'mask'"),
        ("model.loss={key: weighted_sum, losses: 5}", "model.loss: A weighted sum takes"),
        (
            "model.loss={key: weighted_sum, losses: [[list_mle, 1], [{key: softmax_loss, min_label: -5}, 1]]}",
            "must have the same `min_label`",
        ),
        ("training.seed=99999999999", "training.seed: input should be less than"),
        ("data.train=[]", "data.train: "),
        ("model.metrics=[alpha_dcg]", "model.metrics.0: The metric 'alpha_dcg' takes labels per subtopic"),
        ("model.metrics=[{key: ndcg, k: 3}]", "model.metrics.0: metric 'ndcg' has no parameter 'k'."),
        ("model.architecture={key: dnn, units: [3]}", "model.architecture: architecture 'dnn' has no parameter"),
        ("model.lr_schedule=cosin", "model.lr_schedule.key: unknown 'cosin'. Did you mean 'cosine'?"),
        ("model.lr_schedule={key: cosine, decay: 3}", "model.lr_schedule.decay: unknown 'decay'. Did you mean"),
        ("expected_metrics={test: {ndcg_10: 1}}", "expected_metrics.test.ndcg_10: not among model.metrics: ndcg_5"),
        ("name=a/b", "name: string should match pattern"),
        ("training", "--set 'training': write a.b.c=value."),
        ("model.metrics.7=mrr", "--set model.metrics.7: no item '7'; there are 0 to 1"),
        ("training.epochs.x=1", "'epochs' holds 2, which has no keys"),
    ],
)
def test_invalid_key_or_value_gets_one_line_with_its_path(tmp_path, override, expected):
    if expected is None:
        load_config(config(tmp_path), [override])
    else:
        assert expected in error(tmp_path, override)


def test_config_without_document_inputs_is_rejected(tmp_path):
    inputs = [{"name": "segment", "type": "categorical", "scope": "query"}]
    assert "at least one input must be of scope document" in error(tmp_path, features={"inputs": inputs})


def test_overrides_reach_every_section(tmp_path):
    sets = [
        "model.loss.key=list_mle",  # the loss was given as a bare key
        "model.loss.temperature=5e-1",
        "features.inputs.brand.embedding_dim=7",
        "model.metrics.1={key: map}",
        "training.early_stopping={patience: 3}",
        "data.options.delimiter=;",
    ]
    loaded = load_config(config(tmp_path), sets, seed=9)
    assert loaded.model.loss == {"key": "list_mle", "temperature": 0.5}
    assert loaded.features.inputs[1].embedding_dim == 7
    assert [metric_name(m) for m in loaded.model.metrics] == ["ndcg_5", "map"]
    assert loaded.training.early_stopping.patience == 3
    assert loaded.training.seed == 9
    assert loaded.data.options == {"delimiter": ";"}


def test_features_and_model_may_be_separate_files(tmp_path):
    whole = config(tmp_path)
    for section in ("features", "model"):
        (tmp_path / f"{section}.yaml").write_text(yaml.safe_dump(whole[section]))
    (tmp_path / "main.yaml").write_text(yaml.safe_dump({**whole, "features": "features.yaml", "model": "model.yaml"}))
    assert load_config(tmp_path / "main.yaml") == load_config(whole)
    assert load_config(tmp_path / "main.yaml", ["model.loss.key=list_mle"]).model.loss == {"key": "list_mle"}


def test_override_may_name_a_section_file_and_leaves_the_mapping_unchanged(tmp_path):
    whole = config(tmp_path)
    (tmp_path / "m.yaml").write_text(yaml.safe_dump({"loss": "list_mle"}))
    loaded = load_config(whole, [f"model={tmp_path / 'm.yaml'}", "model.loss.temperature=2", "training.epochs=77"])
    assert loaded.model.loss == {"key": "list_mle", "temperature": 2}
    assert whole == config(tmp_path)


@pytest.mark.parametrize(
    ("bias", "expected"),
    [
        ("additiv", "model.position_bias: Unknown position bias 'additiv'. Did you mean 'additive'?"),
        ({"key": "additive", "dropout": 1.0}, "model.position_bias: `dropout` must be a number from 0 to below 1."),
        ({"key": "additive", "max_positions": 3}, "has no parameter 'max_positions'. Did you mean 'max_position'?"),
        ({"key": "tower", "combine": "times"}, "model.position_bias: `combine` must be one of add, multiply."),
        ({"key": "tower", "inputs": ["sgment"]}, "position_bias.inputs: unknown 'sgment'. Did you mean 'segment'?"),
        ({"key": "tower", "inputs": ["price", "brand", "title"]}, "leaves relevance no input of scope document"),
        ({"key": "propensity", "values": [0.5, 0.0]}, "model.position_bias: `propensity.values` must be probabilities"),
        ({"key": "propensity", "values": "none.json"}, "position_bias.values: none.json: there is no such file"),
        ({"key": "additive", "labels": ["click"]}, "model.position_bias.labels: unknown 'click'. Allowed: label."),
    ],
)
def test_invalid_position_bias_is_rejected(tmp_path, bias, expected):
    model = {"position_bias": bias}
    assert expected in error(tmp_path, model=model, features={"positions": "shown"})


def test_position_bias_needs_positions_and_excludes_a_propensity_of_the_loss(tmp_path):
    assert "model.position_bias: needs features.positions" in error(tmp_path, model={"position_bias": "additive"})
    model = {"position_bias": "additive", "loss": {"key": "list_mle", "propensity": "power"}}
    message = error(tmp_path, model=model, features={"positions": "shown"})
    assert message.startswith("model.loss.propensity: model.position_bias 'additive' corrects the same bias")


def test_files_of_propensities_become_values_of_the_config(tmp_path):
    (tmp_path / "p.json").write_text('{"propensities": [1.0, 0.5]}')
    (tmp_path / "bad.json").write_text('{"values": [1.0]}')
    file = str(tmp_path / "p.json")
    sections = {"features": {"positions": "shown"}}
    aux = [{"key": "pairwise_logistic", "propensity": {"key": "table", "values": file, "clip": 3.0}}]
    model = {"position_bias": {"key": "propensity", "values": file}, "loss": {"key": "list_mle", "propensity": file}}
    loaded = load_config(config(tmp_path, model={**model, "aux_losses": aux}, **sections))
    assert loaded.model.position_bias == {"key": "propensity", "values": [1.0, 0.5]}
    assert loaded.model.loss["propensity"] == {"key": "table", "values": [1.0, 0.5]}
    assert loaded.model.aux_losses[0].spec["propensity"] == {"key": "table", "values": [1.0, 0.5], "clip": 3.0}
    message = error(
        tmp_path, model={"position_bias": {"key": "propensity", "values": file.replace("p.", "bad.")}}, **sections
    )
    assert "holds neither a list of propensities nor" in message


@pytest.mark.parametrize("propensity", [5, [1, "a"], {"key": ["power"]}, {"key": "table", "values": ["a"]}])
def test_invalid_propensity_is_rejected(tmp_path, propensity):
    loss = {"key": "list_mle", "propensity": propensity}
    assert "model.loss.propensity: " in error(tmp_path, model={"loss": loss}, features={"positions": "shown"})


def test_dumped_config_loads_as_itself(tmp_path):
    loaded = load_config(
        config(tmp_path, model={"aux_losses": [{"key": "list_mle", "weight": 0.1, "label": "clicked"}]})
    )
    (tmp_path / "resolved.yaml").write_text(dump_config(loaded))
    assert load_config(tmp_path / "resolved.yaml") == loaded


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [1\nb: 2", "bad.yaml, line 2, column 2: expected ',' or ']'"),
        ("name: a\nname: b\n", "bad.yaml, line 2, column 1: the key 'name' is given twice."),
        ("- 1\n", "bad.yaml: a config is a mapping of keys. Received: list."),
        ("a: !!python/object/apply:os.system ['echo']\n", "could not determine a constructor"),
    ],
)
def test_invalid_yaml_reports_line_and_column(tmp_path, text, expected):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(ConfigError) as info:
        load_config(tmp_path / "bad.yaml")
    assert expected in str(info.value)


def test_json_schema_covers_sections_and_their_short_forms(tmp_path):
    schema = Config.model_json_schema()
    assert set(schema["properties"]) == set(Config.model_fields)
    model = schema["$defs"]["ModelConfig"]["properties"]
    assert "list_mle" in model["loss"]["anyOf"][0]["enum"]
    assert "ndcg" in model["metrics"]["items"]["anyOf"][1]["properties"]["key"]["enum"]
    for section in (schema["properties"]["features"], model["optimizer"], model["lr_schedule"]):
        assert {"type": "string"} in section["anyOf"]


def test_loading_a_config_imports_no_backend(tmp_path):
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config(tmp_path)))
    code = (
        "import sys; from ml4ir_losses import load_config; load_config(sys.argv[1]);"
        "sys.exit(any(m in sys.modules for m in ('keras', 'tensorflow', 'jax', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "c.yaml")], check=False).returncode == 0


EXPECTED = {"expected_metrics": {"test": {"ndcg_5": 0.9}}}


def test_expected_metrics_can_be_set_to_null(tmp_path):
    assert load_config(config(tmp_path, **EXPECTED), ["expected_metrics=null"]).expected_metrics == {}


@pytest.mark.parametrize("override", ["data.directory=other", "data.test=other.csv", "data={train: other.csv}"])
def test_expected_metrics_are_dropped_if_overrides_replace_the_data(tmp_path, caplog, override):
    with caplog.at_level("INFO"):
        assert load_config(config(tmp_path, **EXPECTED), [override]).expected_metrics == {}
    assert caplog.messages == [
        "expected_metrics: left out, since the data that they were measured on are replaced",
    ]


def test_expected_metrics_are_kept_if_the_data_are_kept(tmp_path, caplog):
    for overrides in ([], ["data.batch_size=2"], ["training.epochs=1"]):
        assert load_config(config(tmp_path, **EXPECTED), overrides).expected_metrics == {"test": {"ndcg_5": 0.9}}
    both = ["data.test=other.csv", "expected_metrics={test: {mrr: 0.5}}"]
    assert load_config(config(tmp_path, **EXPECTED), both).expected_metrics == {"test": {"mrr": 0.5}}
    assert caplog.messages == []
