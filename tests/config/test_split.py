"""`data.path` with `split` or `folds`: which splits there are, what contradicts, data in memory."""

import pytest

from ml4ir_losses.config.in_memory import InMemory
from ml4ir_losses.config.load import load_config
from ml4ir_losses.core.errors import ConfigError

THIRD = {"validation": 0.15, "test": 0.15}
ROWS = {"query_id": ["a", "b"], "label": [0, 1], "price": [1, 2]}


def config(data, **sections):
    features = {"inputs": [{"name": "price", "type": "numeric"}]}
    return {"data": data, "features": features, "model": {"loss": "list_mle"}, **sections}


def test_given_shares_are_the_splits_of_a_path():
    data = load_config(config({"path": "log.csv", "split": THIRD, "directory": "data"})).data
    assert data.splits == ["train", "validation", "test"]
    assert data.paths("test") == data.paths("train") == ["data/log.csv"]
    data = load_config(config({"path": "log.csv", "split": {"test": 0.2}})).data
    assert (data.splits, data.paths("validation")) == (["train", "test"], [])
    assert load_config(config({"path": "log.csv", "folds": 5})).data.splits == ["train"]
    assert load_config(config({"train": "a.csv", "test": "b.csv"})).data.splits == ["train", "test"]


def test_a_split_that_is_left_out_changes_no_other():
    data = load_config(config({"path": "log.csv", "split": THIRD})).data.without("test")
    assert data.splits == ["train", "validation"]
    assert data.split.shares == pytest.approx({"train": 0.7, "validation": 0.15, "test": 0})
    assert load_config(config(data.model_dump())).data == data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "data: train is missing: give train, or path with split or folds."),
        ({"path": "a", "split": THIRD, "test": "b"}, "data: give test, or path with split, not both."),
        ({"train": "a", "split": THIRD}, "data: split reads path: give path in the place of train, validation and"),
        ({"path": "a"}, "data: path needs split, such as split: {validation: 0.15, test: 0.15}, or folds; or call it"),
        ({"path": "a", "split": {}}, "data.split: give the share of validation or test, such as validation: 0.15."),
        (
            {"path": "a", "split": {"validation": 0.5, "test": 0.5}},
            "data.split: validation and test leave no queries for train.",
        ),
        ({"path": "a", "split": {"train": 0.9, "test": 0.2}}, "data.split: the shares add up to 1.1, more than 1."),
        ({"path": "a", "split": {"test": 15}}, "data.split.test: input should be less than 1. Received: 15."),
        (
            {"path": "a", "split": {"test": 0.1, "by": "time"}},
            "data.split: by: time needs column, the name",
        ),
        ({"path": "a", "split": {"tset": 0.1}}, "data.split.tset: unknown 'tset'. Did you mean 'test'?"),
    ],
)
def test_contradictions_give_one_line(data, message):
    with pytest.raises(ConfigError) as error:
        load_config(config(data))
    assert str(error.value).startswith(message)


def test_checks_know_which_splits_there_are():
    stop = {"training": {"early_stopping": {}}}
    with pytest.raises(ConfigError, match=r"^training.early_stopping: needs data.validation"):
        load_config(config({"path": "a", "split": {"test": 0.1}}, **stop))
    with pytest.raises(ConfigError, match=r"^expected_metrics.test: data.split.test is not given"):
        load_config(config({"path": "a", "split": {"validation": 0.1}}, expected_metrics={"test": {"mrr": 1}}))
    load_config(config({"path": "a", "split": THIRD}, expected_metrics={"test": {"mrr": 1}}, **stop))


def test_one_object_in_memory_is_split_and_objects_by_split_are_not():
    base = config({"path": "log.csv", "split": THIRD})
    data = load_config(base, data=ROWS).data
    assert isinstance(data.path, InMemory)
    assert data.splits == ["train", "validation", "test"]
    data = load_config(base, data={"train": ROWS, "validation": "v.csv"}).data
    assert (data.path, data.split, data.splits) == (None, None, ["train", "validation"])
    data = load_config(config({"path": "log.csv", "folds": 5}), data=ROWS).data
    assert (data.path, data.folds.k, data.splits) == (None, 5, ["train"])


def test_other_data_or_parts_leave_out_expected_metrics():
    base = config({"path": "a", "split": THIRD}, expected_metrics={"test": {"mrr": 1}})
    for override in ("data.path=b", "data.split.seed=2"):
        assert load_config(base, [override]).expected_metrics == {}
    assert load_config(base, ["data.batch_size=2"]).expected_metrics


@pytest.mark.parametrize("given", [{"path": "a"}, {"train": "a", "split": THIRD}, {"train": "a", "folds": 3}])
def test_texts_have_files_for_their_splits(given):
    data = {**given, "columns": {"anchor": "query", "positive": "document"}}
    with pytest.raises(
        ConfigError, match=r"^data: (path|split|folds) splits documents with features; texts have files"
    ):
        load_config({"data": data, "model": {"architecture": "bi_encoder", "loss": "multiple_negatives_ranking"}})


def test_findings_are_accepted_by_key():
    assert load_config(config({"train": "a", "accept": ["label_leak"]})).data.accept == ["label_leak"]
    with pytest.raises(ConfigError, match=r"^data.accept.0: unknown 'label_leek'. Did you mean 'label_leak'\?"):
        load_config(config({"train": "a", "accept": ["label_leek"]}))
