"""Import of ml4ir's feature configs: each function of ml4ir, what is left out, and files that are no such configs."""

import pytest

from ml4ir_losses.config.import_ml4ir import as_yaml, import_ml4ir
from ml4ir_losses.config.load import load_config
from ml4ir_losses.config.ml4ir_functions import LABELS, LAYERS, PREPROCESSING
from ml4ir_losses.config.yaml_io import parse_yaml
from ml4ir_losses.core.errors import ConfigError

PLAIN = {"name": "plain", "tfrecord_type": "sequence"}


def ml4ir(*features, **sections):
    """A feature config of ml4ir with a plain feature, which makes it valid, and the given ones."""
    return {
        "query_key": {"name": "qid", "trainable": False, "dtype": "string", "tfrecord_type": "context"},
        "label": {"name": "clicked", "trainable": False},
        "features": [*features, PLAIN],
        **sections,
    }


def feature(fn=None, args=None, dtype="float", preprocessing=(), **keys):
    info = {"type": "numeric", "shape": None, **({} if fn is None else {"fn": fn, "args": args or {}})}
    steps = [{"fn": name, "args": given} for name, given in preprocessing]
    return {"name": "x", "dtype": dtype, "feature_layer_info": info, "preprocessing_info": steps, **keys}


def imported(*args, **keys):
    """The input that a feature becomes, without its name, and the report about it as {what: (status, note)}."""
    result = import_ml4ir(ml4ir(feature(*args, **keys)))
    inputs = {item["name"]: item for item in result.config["features"]["inputs"]}
    report = {f.what.rpartition(": ")[2]: (f.status, f.note) for f in result.findings if f.where == "x"}
    return {k: v for k, v in inputs.get("x", {}).items() if k != "name"}, report


FILE = {"vocabulary_file": "brands.csv", "embedding_size": 8, "num_oov_buckets": 2}
NUMBER = {"type": "numeric", "missing": "zero"}
CATEGORY = {"type": "categorical", "vocabulary": "brands.csv", "oov_buckets": 2, "embedding_dim": 8}
FUNCTIONS = {
    "bytes_sequence_to_encoding_bilstm": [
        ({"encoding_size": 32, "max_length": 20}, "changed", {"type": "text", "ngrams": [3, 5], "embedding_dim": 32})
    ],
    "global_1d_pooling": [({"fns": ["sum", "max"]}, "left out", {})],
    "categorical_embedding_to_encoding_bilstm": [
        (
            {**FILE, "encoding_size": 16, "max_length": 20},
            "changed",
            {**CATEGORY, "embedding_dim": 16, "pooling": "mean", "max_values": 20},
        )
    ],
    "categorical_embedding_with_hash_buckets": [
        (
            {"num_hash_buckets": 1, "hash_bucket_size": 64, "embedding_size": 8, "merge_mode": "mean"},
            "mapped",
            {"type": "categorical", "encoding": "hash", "num_buckets": 64, "embedding_dim": 8},
        ),
        (
            {"num_hash_buckets": 4, "hash_bucket_size": 64, "embedding_size": 8, "merge_mode": "concat"},
            "changed",
            {"type": "categorical", "encoding": "hash", "num_buckets": 256, "embedding_dim": 32},
        ),
    ],
    "categorical_embedding_with_indices": [
        (
            {"num_buckets": 8, "embedding_size": 4, "default_value": None},
            "mapped",
            {"type": "categorical", "max_vocabulary": 8, "embedding_dim": 4},
        )
    ],
    "categorical_embedding_with_vocabulary_file": [
        (FILE, "mapped", CATEGORY),
        ({"vocabulary_file": "brands.csv"}, "changed", {"type": "categorical", "vocabulary": "brands.csv"}),
    ],
    "categorical_embedding_with_vocabulary_file_and_dropout": [({**FILE, "dropout_rate": 0.1}, "mapped", CATEGORY)],
    "categorical_indicator_with_vocabulary_file": [
        (
            {"vocabulary_file": "brands.csv", "num_oov_buckets": 2},
            "changed",
            {"type": "categorical", "vocabulary": "brands.csv", "oov_buckets": 2},
        ),
    ],
    "categorical_vector": [
        (
            {"vocabulary": ["a", 1, "a", ""], "embedding_size": 4},
            "mapped",
            {"type": "categorical", "vocabulary": ["a", "1"], "embedding_dim": 4},
        ),
        (
            {"vocabulary": ["a"], "encoding_type": "one_hot"},
            "changed",
            {"type": "categorical", "vocabulary": ["a"]},
        ),
    ],
    "tf_native_op": [
        (
            {
                "ops": [
                    {"fn": "tf.math.add", "args": {"y": 0.0}},
                    {"fn": "tf.math.log1p"},
                    {"fn": "tf.clip_by_value", "args": {"clip_value_min": 0.0, "clip_value_max": 10.0}},
                ]
            },
            "mapped",
            {**NUMBER, "transforms": ["log1p", {"key": "clip", "min": 0.0, "max": 10.0}]},
        ),
        ({"ops": [{"fn": "tf.math.add", "args": {"y": 1.0}}, {"fn": "tf.math.log"}]}, "left out", NUMBER),
        ({"ops": [{"fn": "os.system('rm')"}]}, "left out", NUMBER),
    ],
    "robust_scaler": [({"q25": 1.0, "q75": 2.0}, "changed", {**NUMBER, "transforms": ["robust"]})],
    "theoretical_min_max_norm": [({"theoretical_min": 0.0}, "changed", {**NUMBER, "transforms": ["query_min_max"]})],
    "reciprocal_rank": [({"k": 60, "k_trainable": True}, "changed", {**NUMBER, "query_rank": True})],
    "query_length": [({}, "left out", {})],
    "query_type_vector": [({}, "left out", {})],
    "glove_query_embedding_vector": [({"glove_path": "glove.txt"}, "changed", {"type": "text"})],
    "sentence_transformer_with_tokenizer": [({"model_name_or_path": "m"}, "changed", {"type": "text"})],
}


def test_every_function_of_ml4ir_is_tested():
    assert set(FUNCTIONS) == set(LAYERS)
    assert set(PREPROCESSING) == {"preprocess_text", "split_and_pad_string", "split_string", "natural_log"}


@pytest.mark.parametrize(
    ("fn", "args", "status", "expected"), [(fn, *case) for fn, cases in FUNCTIONS.items() for case in cases]
)
def test_feature_function_becomes_an_input_and_a_line_of_the_report(fn, args, status, expected):
    config, report = imported(fn, args)
    assert config == expected
    assert report[fn][0] == status
    assert report[fn][1]


def test_format_of_vocabulary_files_is_reported():
    _, report = imported("categorical_embedding_with_vocabulary_file", FILE)
    assert report["brands.csv"] == ("changed", "needs one value per line: take out the header and the column of ids")


def test_dropout_of_categories_is_reported():
    _, report = imported("categorical_embedding_with_vocabulary_file_and_dropout", {**FILE, "dropout_rate": 0.1})
    assert report["0.1"][0] == "left out"


@pytest.mark.parametrize(
    ("fn", "args", "feature_fn", "status", "expected"),
    [
        (
            "preprocess_text",
            {"to_lower": True, "remove_punctuation": True},
            "bytes_sequence_to_encoding_bilstm",
            "mapped",
            {"type": "text", "ngrams": [3, 5]},
        ),
        (
            "preprocess_text",
            {"to_lower": True},
            "bytes_sequence_to_encoding_bilstm",
            "changed",
            {"type": "text", "ngrams": [3, 5]},
        ),
        ("preprocess_text", {}, "categorical_embedding_with_indices", "left out", {"type": "categorical"}),
        (
            "split_and_pad_string",
            {"split_char": ";", "max_length": 5},
            "categorical_embedding_with_indices",
            "changed",
            {"type": "categorical", "separator": ";", "max_values": 5, "pooling": "mean"},
        ),
        (
            "split_string",
            {},
            "categorical_embedding_to_encoding_bilstm",
            "mapped",
            {"type": "categorical", "pooling": "mean", "separator": ",", "max_values": 20},
        ),
        ("split_and_pad_string", {}, None, "left out", NUMBER),
        ("natural_log", {"shift": 1}, "robust_scaler", "mapped", {**NUMBER, "transforms": ["log1p", "robust"]}),
        ("natural_log", {"shift": 2}, None, "left out", NUMBER),
        ("natural_log", {}, "categorical_embedding_with_indices", "left out", {"type": "categorical"}),
        ("my_own_fn", {}, None, "left out", NUMBER),
    ],
)
def test_preprocessing_comes_before_the_feature_function(fn, args, feature_fn, status, expected):
    config, report = imported(feature_fn, preprocessing=[(fn, args)])
    assert config == expected
    assert report[fn][0] == status


def test_roles_scopes_types_and_missing_values():
    raw = ml4ir(
        feature(tfrecord_type="context", default_value=2.5),
        {"name": "city", "dtype": "string"},
        {"name": "device", "dtype": "int64", "serving_info": {"name": "dev", "default_value": -1}},
        rank={"name": "shown"},
        mask={"name": "mask"},
    )
    features = import_ml4ir(raw).config["features"]
    assert features == {
        "query_id": "qid",
        "label": "clicked",
        "positions": "shown",
        "inputs": [
            {"name": "x", "type": "numeric", "scope": "query", "missing": 2.5},
            {"name": "city", "type": "categorical"},
            {"name": "device", "type": "numeric", "missing": -1},
            {"name": "plain", "type": "numeric", "missing": "zero"},
        ],
    }


@pytest.mark.parametrize("fn", LABELS)
def test_functions_of_the_label_are_left_to_the_user(fn):
    label = {"name": "clicked", "preprocessing_info": [{"fn": fn}]}
    findings = import_ml4ir(ml4ir(label=label)).findings
    assert next(f for f in findings if f.what == fn)[2:] == ("left out", LABELS[fn])


def test_metadata_and_flags_are_reported_with_what_to_do():
    flags = ["is_aux_label", "is_secondary_label", "is_group_metric_key", "log_at_inference"]
    config, report = imported(trainable=False, node_name="y", max_len=3, **dict.fromkeys(flags, True))
    assert config == {}
    assert {report[flag][0] for flag in flags} == {"left out"}
    assert "label: x" in report["is_aux_label"][1]
    assert "--group-by x" in report["is_group_metric_key"][1]
    assert report["false"][0] == "mapped"
    assert report["3"][0] == "left out"


def test_second_node_of_a_column_is_an_input_with_a_name_of_its_own():
    result = import_ml4ir(ml4ir(feature(), feature("robust_scaler", node_name="scaled")))
    _, scaled, _ = result.config["features"]["inputs"]
    assert scaled == {"name": "scaled", "column": "x", **NUMBER, "transforms": ["robust"]}


def test_arguments_that_are_not_read_are_reported():
    findings = import_ml4ir(ml4ir(feature("robust_scaler", {"q25": 1, "median": 2}))).findings
    assert any("does not read: median" in finding.note for finding in findings)


def test_what_looks_like_code_is_reported_and_not_run():
    raw = ml4ir(feature("robust_scaler", {"q25": "__import__('os').abort()"}), feature(name="y", default_value="f(1)"))
    findings = import_ml4ir(raw).findings
    assert [f.where for f in findings if "looks like code" in f.note] == [
        "features.0.feature_layer_info.args.q25",
        "features.1.default_value",
    ]


def test_written_yaml_is_a_valid_config_with_the_report_above_it():
    result = import_ml4ir(ml4ir(feature("reciprocal_rank", {"k": 60}), feature("query_length", name="n\n# y")))
    text = as_yaml(result, "features.yaml")
    assert parse_yaml(text) == result.config
    assert load_config(parse_yaml(text)).features.query_id == "qid"
    assert "# changed: x, feature_layer_info.fn: reciprocal_rank: query_rank" in text
    assert "# left out: n # y," in text


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"lable": {}, "features": []}, "no 'label', which every feature config of ml4ir has. Did you mean 'lable'?"),
        ({"label": {"name": "y"}}, "no 'features'"),
        ({"label": {"name": "y"}, "features": {"a": 1}}, "features must be a list of features. Received: dict"),
        ({"label": {"name": "y"}, "features": [{"node_name": "a"}]}, "features.0: describes a column with a name"),
        ({"label": "y", "features": [PLAIN]}, "label: describes a column with a name. Received: 'y'"),
        ({"label": {"name": "y"}, "features": [{**PLAIN, "trainable": False}]}, "no feature can be an input"),
        ({"label": {"name": "y"}, "features": [{**PLAIN, "tfrecord_type": "context"}]}, "scope document"),
        ({"label": {"name": "y"}, "features": [PLAIN, PLAIN]}, "features.1: a second input is called 'plain'"),
    ],
)
def test_other_files_are_refused_with_one_line(raw, message):
    with pytest.raises(ConfigError) as error:
        import_ml4ir(raw, "f.yaml")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_command_writes_the_config_once_and_prints_the_report(run, tmp_path):
    (tmp_path / "features.yaml").write_text("label: {name: y}\nfeatures: [{name: price, tfrecord_type: sequence}]\n")
    arguments = ["import-config", str(tmp_path / "features.yaml")]
    code, printed, _ = run(*arguments)
    assert code == 0
    assert load_config(parse_yaml(printed)).features.label == "y"
    output = tmp_path / "shop.yaml"
    code, report, _ = run(*arguments, "-o", str(output))
    assert code == 0
    assert output.read_text() == printed
    assert "price" in report
    assert "mapped" in report
    assert str(output) in report
    code, _, error = run(*arguments, "-o", str(output))
    assert code == 2
    assert "exists, and is not overwritten" in error
