"""The section `tune`: each path and each value is checked before anything is trained."""

import pytest

from ml4ir_losses.config.load import load_config
from ml4ir_losses.config.search_space import check_monitor, check_search_space, given_values, with_values
from ml4ir_losses.core.errors import ConfigError
from small import config
from small_texts import config as text_config

RATE = "model.optimizer.learning_rate"


@pytest.fixture
def searched(tmp_path):
    return lambda tune, **sections: load_config(config(tmp_path, tune=tune, **sections))


def test_every_kind_of_range_is_allowed(searched):
    found = searched(
        {
            RATE: {"log_uniform": [1e-3, 1e-1]},
            "model.loss": {"choice": ["softmax_cross_entropy", {"key": "lambda_loss", "k": 5}]},
            "model.loss.temperature": {"uniform": [0.1, 2]},
            "model.architecture.hidden_units": {"choice": [[16], [16, 8]]},
            "features.inputs.brand.embedding_dim": {"log_int": [2, 16]},
            "training.epochs": {"int": [2, 5]},
            "data.batch_size": {"choice": [4, 8]},
        }
    )
    check_search_space(found)
    assert given_values(found) == {
        RATE: 0.02,
        "model.loss": "softmax_cross_entropy",
        "model.architecture.hidden_units": [16],
        "features.inputs.brand.embedding_dim": 3,
        "training.epochs": 2,
        "data.batch_size": 8,
    }


def test_values_are_put_into_the_config(searched):
    base = searched({RATE: {"uniform": [0.1, 0.2]}})
    loss = {"key": "lambda_loss", "k": 5}
    values = {"model.loss.temperature": 0.5, "model.loss": loss, "features.inputs.brand.embedding_dim": 7}
    found = with_values(base, values)
    assert found.model.loss == {"key": "lambda_loss", "k": 5, "temperature": 0.5}
    assert loss == {"key": "lambda_loss", "k": 5}
    assert found.features.inputs[1].embedding_dim == 7
    assert found.tune == {}
    assert base.model.loss == "softmax_cross_entropy"


def test_given_choice_is_known_beside_a_parameter_with_a_path_of_its_own(searched):
    tune = {
        "model.loss": {"choice": ["list_mle", "softmax_cross_entropy"]},
        "model.loss.temperature": {"uniform": [0.1, 2]},
    }
    given = searched(tune, model={"loss": {"key": "list_mle", "temperature": 0.5}})
    assert given_values(given) == {"model.loss": "list_mle", "model.loss.temperature": 0.5}


def test_configs_share_data_in_memory(searched):
    base = load_config(
        searched({RATE: {"uniform": [0.1, 0.2]}}), data={"train": {"query_id": [1]}, "validation": "v.csv"}
    )
    check_search_space(base)
    assert with_values(base, {RATE: 0.1}).data.train is base.data.train


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"log_uniform": [0.1, 0.001]},
            "log_uniform is turned round: it needs [lowest, highest]. Received: [0.1, 0.001].",
        ),
        ({"uniform": [1, 1]}, "uniform is turned round"),
        ({"uniform": [1]}, "uniform needs two numbers, [lowest, highest]. Received: [1]."),
        ({"uniform": [0.1, "0.2"]}, "uniform needs two numbers, [lowest, highest]. Received: [0.1, '0.2']."),
        ({"int": [1, 2.5]}, "int needs two whole numbers, [lowest, highest]. Received: [1, 2.5]."),
        ({"log_int": [0, 5]}, "log_int needs values above 0. Received: [0, 5]."),
        ({"choice": []}, "choice lists no value."),
        ({"choice": [1, 2, 1]}, "choice lists 1 twice."),
        ({}, "needs one of choice, uniform, log_uniform, int, log_int, such as {choice: [a, b]}. Received: {}."),
        ({"int": [1, 2], "choice": [3]}, "needs one of choice, uniform,"),
        (0.1, "needs one of choice, uniform, log_uniform, int, log_int, such as {choice: [a, b]}. Received: 0.1."),
    ],
)
def test_wrong_range_gives_one_line_with_its_path(searched, spec, message):
    with pytest.raises(ConfigError) as error:
        searched({RATE: spec})
    assert str(error.value).startswith(f"tune.{RATE}: {message}")


def test_unknown_kind_of_range_names_the_nearest(searched):
    with pytest.raises(ConfigError) as error:
        searched({RATE: {"loguniform": [1, 2]}})
    expected = f"tune.{RATE}.loguniform: unknown 'loguniform'. Did you mean 'log_uniform'? Allowed: choice, uniform,"
    assert str(error.value).startswith(expected)


@pytest.mark.parametrize(
    ("path", "spec", "message"),
    [
        (
            "model.optimizr.learning_rate",
            {"uniform": [1, 2]},
            "model.optimizr: unknown 'optimizr'. Did you mean 'optimizer'?",
        ),
        ("model.loss.temperatur", {"uniform": [1, 2]}, "model.loss: loss 'softmax_cross_entropy' has no parameter"),
        ("model.loss.temperature", {"uniform": [-1, 2]}, "model.loss: `temperature` must be a number above 0."),
        (
            "model.loss",
            {"choice": ["list_mle", "listmel"]},
            "model.loss: Unknown loss 'listmel'. Did you mean 'list_mle'?",
        ),
        ("model.architecture.dropout", {"uniform": [0, 1.5]}, "model.architecture: `dropout` must be a number"),
        ("training.epochs", {"uniform": [1, 3]}, "training.epochs: input should be a valid integer"),
        ("training.seed.first", {"choice": [1]}, "'seed' holds 3, which has no keys."),
        ("features.inputs.colour.embedding_dim", {"int": [1, 2]}, "no item 'colour'; there are 0 to 3: price, brand,"),
        (
            "data.test",
            {"choice": ["a.csv", "b.csv"]},
            "trials could not be compared, since it changes what is measured.",
        ),
        ("data.max_list_size", {"int": [1, 5]}, "trials could not be compared"),
        ("features.label", {"choice": ["clicked"]}, "trials could not be compared"),
        ("model.metrics", {"choice": [["mrr"]]}, "trials could not be compared"),
        ("expected_metrics", {"choice": [{"test": {"mrr": 1}}]}, "trials could not be compared"),
    ],
)
def test_path_or_value_that_the_config_cannot_have_gives_one_line(searched, path, spec, message):
    with pytest.raises(ConfigError) as error:
        check_search_space(searched({path: spec}))
    assert str(error.value).startswith(f"tune.{path}: {message}")
    assert "\n" not in str(error.value)


def test_value_that_does_not_fit_one_of_the_losses_is_found(searched):
    losses = {"choice": ["list_mle", {"approx_ndcg": 0.5, "list_mle": 0.5}]}
    with pytest.raises(ConfigError, match=r"^tune\.model\.loss\.temperature: model\.loss: Unknown loss 'temperature'"):
        check_search_space(searched({"model.loss": losses, "model.loss.temperature": {"uniform": [0.1, 2]}}))


def test_scores_that_cannot_be_compared_are_refused(searched):
    with pytest.raises(ConfigError, match=r"^tune: .* give data\.validation or data\.folds\.$"):
        check_monitor(searched({RATE: {"uniform": [1, 2]}}), "loss")
    check_monitor(searched({RATE: {"uniform": [1, 2]}}), "val_loss")
    with pytest.raises(
        ConfigError, match=r"^tune\.model\.loss\.temperature: values of val_loss under different losses"
    ):
        check_monitor(searched({"model.loss.temperature": {"uniform": [1, 2]}}), "val_loss")


def test_text_config_has_the_section_too(tmp_path):
    raw = text_config(tmp_path, "multiple_negatives_ranking", tune={"data.batch_size": {"choice": [4, 8]}})
    base = load_config(raw)
    check_search_space(base)
    assert with_values(base, {"data.batch_size": 4}).data.batch_size == 4
