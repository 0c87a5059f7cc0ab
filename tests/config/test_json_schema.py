"""`ml4ir-losses schema`: the JSON schema allows what a config may be, and marks what it may not."""

import json
from copy import deepcopy

import pytest
import yaml
from jsonschema import Draft202012Validator

from markdown_blocks import ROOT
from ml4ir_losses.config.load import json_schema, load_config
from ml4ir_losses.config.yaml_io import apply_override
from ml4ir_losses.core.errors import ConfigError
from ml4ir_losses.core.registry import ENCODERS, LAMBDA_WEIGHTS, LOSSES

CONFIGS = sorted(path.name for path in (ROOT / "configs").glob("*.yaml"))


@pytest.fixture(scope="module")
def validator():
    schema = json.loads(json.dumps(json_schema()))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def read(name):
    return yaml.safe_load((ROOT / "configs" / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", CONFIGS)
def test_schema_accepts_shipped_configs(validator, name):
    assert not [error.message for error in validator.iter_errors(read(name))]


FEATURES, TEXTS = "quickstart.yaml", "embedding.yaml"
IN_BATCH = "cross_encoder_multiple_negatives_ranking"
GOOD = [
    (FEATURES, "model.loss=softmax_loss"),
    (FEATURES, "model.loss={key: list_mle, temperature: 0.5, propensity: {eta: 1.0}}"),
    (FEATURES, "model.position_bias=additive"),
    (FEATURES, "model.position_bias={key: tower, inputs: [device], combine: multiply}"),
    (FEATURES, "model.loss={softmax_cross_entropy: 0.9, pairwise_logistic: 0.1}"),
    (FEATURES, "model.loss={key: pairwise_logistic, lambda_weight: {key: ndcg, topn: 5}}"),
    (FEATURES, "model.aux_losses=[{key: sigmoid_cross_entropy, weight: 0.1, label: clicked}]"),
    (FEATURES, "features.inputs.0.transforms=[standardize, {key: clip, min: 0}]"),
    (FEATURES, "features.inputs.0.transforms=[{key: quantile, output: normal}, z_score]"),
    (FEATURES, "features.inputs.0={name: x, type: date, reference: shown_at, parts: [age, hour], transforms: [log1p]}"),
    (FEATURES, "data.options={}"),
    (FEATURES, "data.options={queries: 50, noise: 0}"),
    (FEATURES, "data={train: a.csv, options: {delimiter: ;}}"),
    (FEATURES, "data={train: a, format: tsv, options: {quote: ''}}"),
    (FEATURES, "data={train: a.gz, format: null, options: {}}"),
    (FEATURES, "model.architecture={key: dnn, hidden_units: [16], dropout: 0.1}"),
    (FEATURES, "model.metrics=[mrr, {key: ndcg, topn: 3}]"),
    (TEXTS, "model.architecture={key: bi_encoder, encoder: {key: cnn, filters: [4, 4]}}"),
    (TEXTS, "data.batching={key: group_by_label, per_class: 3}"),
    (TEXTS, f"model={{architecture: cross_encoder, loss: {{key: {IN_BATCH}, num_negatives: 2}}}}"),
    (TEXTS, "model={architecture: {key: cross_encoder}, loss: {list_mle: 0.5, lambda_loss: 0.5}}"),
]
BAD = [
    (FEATURES, "model.position_bias=additiv"),
    (FEATURES, "model.position_bias={key: tower, combine: times}"),
    (FEATURES, "model.loss=listmle"),
    (FEATURES, "model.loss={key: list_mle, temprature: 0.5}"),
    (FEATURES, "model.loss={key: list_mle, temperature: 0}"),
    (FEATURES, "model.loss={key: list_mle, temperature: warm}"),
    (FEATURES, "model.loss={key: pairwise_logistic, lambda_weight: {key: ndcg, topn: 0}}"),
    (FEATURES, "model.loss=ordinal"),
    (FEATURES, "model.loss={softmax_cross_entropy: 0.9, pairwise_logistics: 0.1}"),
    (FEATURES, "model.aux_losses=[{key: sigmoid_cross_entropy, weights: 0.1}]"),
    (FEATURES, "features.inputs.0.transforms=[logp]"),
    (FEATURES, "features.inputs.0.transforms=[{key: quantile, output: gauss}]"),
    (FEATURES, "features.inputs.0={name: x, type: date, parts: [minute]}"),
    (FEATURES, "features.inputs.0.transforms=[{key: clip, min: low}]"),
    (FEATURES, "features.inputs.0.transforms=[{key: clip, low: 0}]"),
    (FEATURES, "data.format=parquet"),
    (FEATURES, "data.options={query: 50}"),
    (FEATURES, "data.options={queries: 0}"),
    (FEATURES, "data={train: a, format: csv, options: {queries: 50}}"),
    (FEATURES, "data={train: a, format: csv, options: {delimiter: ';;'}}"),
    (FEATURES, "model.architecture=bi_encoder"),
    (FEATURES, "model.architecture={key: dnn, hidden_units: [0]}"),
    (FEATURES, "model.architecture={key: dnn, dropout: 1.0}"),
    (FEATURES, "model.metrics=[{key: ndcg, topn: 0}]"),
    (TEXTS, "data.options={delimiter: 7}"),
    (TEXTS, "model.loss=list_mle"),
    (TEXTS, "model={architecture: cross_encoder, loss: multiple_negatives_ranking}"),
    (TEXTS, "model.architecture={key: bi_encoder, encoder: {key: cnn, kernel_size: 0}}"),
    (TEXTS, "model.architecture={key: bi_encoder, encoder: {key: keras_hub}}"),
    (TEXTS, "data.batching={key: group_by_label, per_class: 1}"),
]


def changed(name, override):
    config = deepcopy(read(name))
    apply_override(config, override)
    return config


@pytest.mark.parametrize(("name", "override"), GOOD)
def test_schema_accepts_valid_configs(validator, name, override):
    assert not [error.message for error in validator.iter_errors(changed(name, override))]


@pytest.mark.parametrize(("name", "override"), BAD)
def test_schema_and_checks_reject_the_same_configs(validator, name, override):
    config = changed(name, override)
    assert not validator.is_valid(config)
    with pytest.raises(ConfigError):
        load_config(config)


def test_parameters_of_a_key_are_one_definition(validator):
    definitions, text = validator.schema["$defs"], json.dumps(validator.schema)
    for kind, registry in (("loss", LOSSES), ("lambda_weight", LAMBDA_WEIGHTS), ("encoder", ENCODERS)):
        assert {f"{kind}.{entry.key}" for entry in registry} < set(definitions)
    for kind, registry in (("lambda_weight", LAMBDA_WEIGHTS), ("encoder", ENCODERS)):  # parameters of other keys
        for entry in registry:
            assert text.count(f'"#/$defs/{kind}.{entry.key}"') == 1  # in their spec, which is a definition too
        assert text.count(f'"#/$defs/{kind}.spec"') > 1


def test_schema_describes_the_parameters_of_every_loss(validator):
    text = json.dumps(validator.schema)
    for entry in LOSSES:
        assert f'"{entry.key}"' in text
    temperature = LOSSES["list_mle"].json_schema()["properties"]["temperature"]
    assert temperature["exclusiveMinimum"] == 0
    assert temperature["default"] == 1.0
    assert temperature["description"]
