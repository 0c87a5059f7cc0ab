"""The configs of folds: checked, with their rows in memory."""

import pytest

from ml4ir_losses.config.folds import FoldsConfig
from ml4ir_losses.config.in_memory import InMemory
from ml4ir_losses.config.load import dump_config, load_config
from ml4ir_losses.core.errors import ConfigError
from ml4ir_losses.data.splitting import read_splits
from ml4ir_losses.experiments.folding import fold_configs, without_test
from small import config, write_csv, write_splits
from small_texts import config as text_config

QUERIES = {"train": 40, "validation": 12, "test": 12}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_splits(tmp_path_factory.mktemp("data"))


def queries(config, split):
    return set(read_splits(config.data, "query_id", [split])[split].strings("query_id"))


def test_other_splits_stay_and_expected_metrics_are_left_out(folder):
    base = load_config(config(folder, expected_metrics={"test": {"mrr": 0.1}}, data={"folds": 4}))
    folds = fold_configs(base, base.data.folds)
    assert len(folds) == 4
    for fold in folds:
        assert fold.data.folds is None
        assert fold.expected_metrics == {}
        assert fold.data.test == "test.csv"
        assert len(queries(fold, "test")) == QUERIES["test"]
        assert len(queries(fold, "validation")) == 13
        assert len(queries(fold, "train") | queries(fold, "validation")) == 52
    assert "in memory: ml4ir_losses.Table" in dump_config(folds[0])


def test_all_splits_are_dealt_out_with_a_test_part(folder):
    folds = fold_configs(load_config(config(folder)), 4, ("train", "validation", "test"))
    assert set().union(*(queries(fold, "test") for fold in folds)) == {
        f"q{100 * i + q}" for i, n in enumerate(QUERIES.values()) for q in range(n)
    }
    assert all(isinstance(getattr(folds[0].data, split), InMemory) for split in QUERIES)


def test_a_config_without_validation_split_has_one_in_its_folds(tmp_path):
    write_csv(tmp_path / "train.csv", queries=9)
    (fold, *_) = fold_configs(load_config(config(tmp_path, data={"validation": None, "test": None})), 3)
    assert len(queries(fold, "validation")) == 3
    assert fold.data.test is None


@pytest.mark.parametrize(
    ("folds", "message"),
    [
        ("1", "data.folds.k: input should be greater than or equal to 2. Received: 1."),
        ("{k: 3, by: user}", "data.folds.by: unknown 'user'. Did you mean 'query'? Allowed: query, column, time."),
        ("{k: 3, by: time}", "data.folds: by: time needs column, the name of a column."),
        ("{k: 3, column: user}", "data.folds: column 'user' is not read with by: query; say by: column or by: time."),
        ("{n: 3}", "data.folds.n: unknown 'n'. Allowed: by, column, seed, k."),
    ],
)
def test_wrong_folds_in_a_config_give_one_line(folder, folds, message):
    with pytest.raises(ConfigError) as error:
        load_config(config(folder), [f"data.folds={folds}"])
    assert str(error.value) == message


def test_fewer_than_two_folds_and_texts_are_refused(folder, tmp_path):
    with pytest.raises(ConfigError, match=r"^data.folds.k: at least 2 folds are needed. Received: 1.$"):
        fold_configs(load_config(config(folder)), 1)
    with pytest.raises(ConfigError, match=r"^data.folds: .* a text config has fixed splits.$"):
        fold_configs(load_config(text_config(tmp_path, "multiple_negatives_ranking")), FoldsConfig())


def test_folds_of_one_file_leave_its_test_part_alone(tmp_path):
    write_csv(tmp_path / "log.csv", queries=40)
    one = {"path": "log.csv", "train": None, "validation": None, "test": None}
    split = load_config(config(tmp_path, data=one | {"folds": 3, "split": {"validation": 0.2, "test": 0.2}}))
    expected = queries(split, "test")
    for fold in fold_configs(split, split.data.folds):
        assert queries(fold, "test") == expected
        assert queries(fold, "train") | queries(fold, "validation") == {f"q{q}" for q in range(40)} - expected
        assert without_test(fold).data.splits == ["train", "validation"]
    assert queries(without_test(split), "train") == queries(split, "train")
    whole = load_config(config(tmp_path, data=one | {"folds": 4}))
    assert [len(queries(fold, "validation")) for fold in fold_configs(whole, whole.data.folds)] == [10] * 4
    assert [len(queries(fold, "test")) for fold in fold_configs(whole, 4, ("train", "validation", "test"))] == [10] * 4
