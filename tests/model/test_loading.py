"""Model files from anywhere: loading opens no other file, and sizes are checked before anything is unpacked."""

import json
import re
import shutil
import time
import tracemalloc
import zipfile

import keras
import numpy as np
import pytest
import yaml

from ml4ir_losses.config.load import load_config
from ml4ir_losses.core.errors import ConfigError, UserError
from ml4ir_losses.experiments.ranking_model import build_from_inputs
from ml4ir_losses.features.kinds.categorical import FittedCategorical
from ml4ir_losses.features.kinds.numeric import FittedNumeric
from ml4ir_losses.model.embedding_model import EmbeddingModel
from ml4ir_losses.model.from_config import saved_config
from ml4ir_losses.model.loading import load_model
from ml4ir_losses.model.relevance_model import RelevanceModel
from ml4ir_losses.model.size import size_of, state_share
from small import config, write_splits

LOADERS = {"load_model": load_model, "keras": keras.saving.load_model}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A saved model of one number and one category."""
    folder = tmp_path_factory.mktemp("model")
    inputs = [
        FittedNumeric(name="price", columns=["price"], fill=[0.0]),
        FittedCategorical(name="brand", columns=["brand"], vocabulary=["a", "b"], embedding_dim=3),
    ]
    model = RelevanceModel(inputs, {"loss": "softmax_cross_entropy", "architecture": {"key": "dnn"}})
    model.compile_from_spec()
    model.optimizer.build(model.trainable_variables)
    model.save(folder / "m.keras")
    return folder / "m.keras"


def changed(saved, path, change=lambda config: config, compression=zipfile.ZIP_STORED, **members):
    """The saved model with another config, and with other members by name."""
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(path, "w", compression) as new:
        content = {name: old.read(name) for name in old.namelist()}
        content["config.json"] = json.dumps(change(json.loads(content["config.json"]))).encode()
        for name, data in (content | members).items():
            new.writestr(name, data)
    return path


def refused(path):
    """The one line that `load_model` says."""
    with pytest.raises(UserError) as caught:
        load_model(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message


def secret(tmp_path):
    folder = tmp_path / "secret"
    folder.mkdir()
    return write_splits(folder)


@pytest.mark.parametrize("load", LOADERS.values(), ids=LOADERS)
def test_loading_an_experiment_opens_no_data_file(saved, tmp_path, load, monkeypatch):
    experiment = config(secret(tmp_path))
    path = changed(saved, tmp_path / "m.keras", lambda c: {**c, "config": experiment})
    monkeypatch.setattr("ml4ir_losses.data.readers.read_table", lambda *a, **k: pytest.fail("a data file was opened"))
    with pytest.raises(ValueError, match=r"takes a mapping only as get_config gave it, and 'inputs' is missing.*load_"):
        load(path)


@pytest.mark.parametrize("load", LOADERS.values(), ids=LOADERS)
def test_loading_a_text_experiment_opens_no_data_file(saved, tmp_path, load):
    (tmp_path / "t.csv").write_text("a,b\n" + "secret words,secret words\n" * 4)
    experiment = {
        "data": {"train": str(tmp_path / "t.csv"), "columns": {"anchor": "a", "positive": "b"}},
        "model": {"architecture": "bi_encoder", "loss": "multiple_negatives_ranking"},
    }
    for name in ("RelevanceModel", "EmbeddingModel"):
        named = {"class_name": name, "registered_name": f"ml4ir_losses>{name}", "config": experiment}
        path = changed(saved, tmp_path / "m.keras", lambda c, named=named: {**c, **named})
        with pytest.raises(ValueError, match="takes a mapping only as get_config gave it"):
            load(path)


@pytest.mark.parametrize("load", LOADERS.values(), ids=LOADERS)
@pytest.mark.parametrize("name", ["RelevanceModel", "CrossEncoderModel", "TextCrossEncoder"])
def test_loading_opens_no_preset(saved, tmp_path, load, name, monkeypatch):
    preset = str(tmp_path / "preset")
    pair = {"name": "pair", "type": "text_pair", "columns": ["q", "d"], "max_length": 9, "max_query_length": 3}

    def change(old):
        given = old["config"]
        architecture = {"key": "cross_encoder", "encoder": {"key": "keras_hub", "preset": preset}}
        model = {**given["model"], "architecture": architecture}
        named = {"class_name": name, "registered_name": f"ml4ir_losses>{name}"}
        return {**old, **named, "config": {**given, "inputs": [{**pair, "preset": preset}], "model": model}}

    monkeypatch.setattr(
        "ml4ir_losses.text.hub_tokenizer.load_preset", lambda *a, **k: pytest.fail("a preset was opened")
    )
    with pytest.raises(ValueError, match=r"belongs to a TextCrossEncoder|parts tokenizer and scorer"):
        load(changed(saved, tmp_path / "m.keras", change))


def test_from_config_accepts_an_experiment_through_load_config(tmp_path):
    folder = write_splits(tmp_path)
    with pytest.raises(UserError, match=r"from_config\(load_config\(mapping\)\)"):
        RelevanceModel.from_config(config(folder))
    with pytest.raises(UserError, match=r"from_config\(load_config\(mapping\)\)"):
        EmbeddingModel.from_config(config(folder))
    (folder / "c.yaml").write_text(yaml.safe_dump(config(folder)))
    from_path, from_checked = RelevanceModel.from_config(folder / "c.yaml"), load_config(config(folder))
    again = RelevanceModel.from_config(from_path.get_config())
    assert RelevanceModel.from_config(from_checked).get_config() == from_path.get_config() == again.get_config()


def test_saved_config_with_an_unknown_key_is_refused(saved, tmp_path):
    path = changed(saved, tmp_path / "m.keras", lambda c: {**c, "config": {**c["config"], "data": {"train": "x.csv"}}})
    assert "'data' is unknown" in refused(path)


def test_saved_input_without_a_value_for_missing_cells_is_refused(saved, tmp_path):
    def change(old):
        old["config"]["inputs"][0]["fill"] = []
        return old

    assert "`fill` needs a number for each of 1 columns" in refused(changed(saved, tmp_path / "m.keras", change))


def test_config_that_unpacks_to_gigabytes_is_not_read(saved, tmp_path):
    path = changed(saved, tmp_path / "m.keras", compression=zipfile.ZIP_DEFLATED, **{"config.json": b" " * (65 << 20)})
    tracemalloc.start()
    started = time.perf_counter()
    assert "config.json would unpack to 65.0 MiB; at most 64.0 MiB are read" in refused(path)
    assert time.perf_counter() - started < 5
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()


def test_weights_that_unpack_a_hundredfold_are_refused(saved, tmp_path):
    zeros = bytes(100 << 20)
    path = changed(saved, tmp_path / "m.keras", compression=zipfile.ZIP_DEFLATED, **{"model.weights.h5": zeros})
    assert re.search(r"model.weights.h5 would unpack from [\d.]+ KiB to 100.0 MiB", refused(path))


def test_weights_far_larger_than_those_of_the_config_are_refused(saved, tmp_path):
    noise = np.random.default_rng(0).bytes(80 << 20)
    path = changed(saved, tmp_path / "m.keras", **{"model.weights.h5": noise})
    assert re.search(r"its config describes [\d,]+ parameters, .* KiB; the weights in it take 80.0 MiB", refused(path))


def test_files_larger_than_the_free_memory_are_refused(saved, tmp_path, monkeypatch):
    monkeypatch.setattr("ml4ir_losses.model.archive.available_memory", lambda: 1000)
    assert "; 1,000 bytes of memory are free" in refused(changed(saved, tmp_path / "m.keras"))


@pytest.mark.parametrize("units", [[2_000_000, 2_000_000], [400_000_000]])
def test_config_larger_than_the_stored_weights_is_not_built(saved, tmp_path, units):
    def change(old):
        old["config"]["model"]["architecture"] = {"key": "dnn", "hidden_units": units}
        return old

    path = changed(saved, tmp_path / "m.keras", change)
    started = time.perf_counter()
    assert "They do not belong together" in refused(path)
    assert time.perf_counter() - started < 10


def test_deeply_nested_config_is_refused(saved, tmp_path):
    nested = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    assert "nested too deeply" in refused(changed(saved, tmp_path / "m.keras", **{"config.json": nested}))
    nested = b'{"a":' * 900 + b"1" + b"}" * 900
    refused(changed(saved, tmp_path / "m.keras", **{"config.json": nested}))


def test_damaged_files_are_reported_as_damaged(saved, tmp_path):
    whole, path = saved.read_bytes(), tmp_path / "m.keras"
    for part in (whole[: len(whole) // 2], whole[:10]):
        path.write_bytes(part)
        assert "is damaged: its end is missing" in refused(path)
    path.write_bytes(b"")
    assert "is empty" in refused(path)
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    assert "is not a model that can be loaded: it is no .keras file" in refused(path)
    at = whole.index(b'"class_name"')
    path.write_bytes(whole[:at] + b"X" + whole[at + 1 :])
    assert "is damaged" in refused(path)


def test_member_larger_than_its_declared_size_is_not_read(saved, tmp_path):
    path = changed(saved, tmp_path / "m.keras", compression=zipfile.ZIP_DEFLATED, **{"config.json": b" " * (65 << 20)})
    declared = (65 << 20).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(declared, (200).to_bytes(4, "little")))
    assert "is damaged" in refused(path)


def test_archives_without_a_config_or_weights_are_refused(saved, tmp_path):
    for missing in ("config.json", "model.weights.h5"):
        path = tmp_path / "m.keras"
        with zipfile.ZipFile(saved) as old, zipfile.ZipFile(path, "w") as new:
            for name in set(old.namelist()) - {missing}:
                new.writestr(name, old.read(name))
        assert f"holds no {missing}" in refused(path)
    assert "is not a mapping" in refused(changed(saved, tmp_path / "m.keras", **{"config.json": b"[]"}))
    assert "is not JSON" in refused(changed(saved, tmp_path / "m.keras", **{"config.json": b"{"}))


def test_recompressed_models_are_loaded(saved, tmp_path):
    again = load_model(changed(saved, tmp_path / "m.keras", compression=zipfile.ZIP_DEFLATED))
    x = again.example()
    expected = load_model(shutil.copy(saved, tmp_path / "n.keras")).predict(x, verbose=0)
    np.testing.assert_array_equal(again.predict(x, verbose=0), expected)


def test_size_of_counts_without_memory():
    def build():
        layer = keras.layers.Dense(10**6)
        layer.build((None, 10**6))
        return layer

    size = size_of(build)
    assert (size.parameters, size.bytes) == (10**12 + 10**6, 4 * (10**12 + 10**6))
    small = keras.layers.Dense(2)
    small.build((None, 3))  # nothing of the counted layer is made up for later
    assert small.count_params() == 8


def test_size_of_equals_size_of_the_built_model(saved):
    model = load_model(saved)
    assert size_of(lambda: RelevanceModel.from_config(model.get_config())).parameters == sum(
        int(np.prod(variable.shape)) for variable in model.variables
    )


@pytest.mark.parametrize(("name", "share"), [("Adam", 2), ("SGD", 0), ("RMSprop", 1), ("Adagrad", 1)])
def test_state_share_equals_variables_of_the_optimizer(name, share):
    assert state_share(getattr(keras.optimizers, name)()) == share


def test_model_that_exceeds_the_memory_is_not_built(tmp_path):
    wide = load_config(config(tmp_path), ["model.architecture={key: dnn, hidden_units: [100000000]}"])
    inputs = [FittedNumeric(name="price", columns=[f"p{n}" for n in range(500)], fill=[0.0] * 500)]
    started = time.perf_counter()
    message = r"^model: it would have 50,200,000,001 parameters, and training needs 748.0 GiB"
    with pytest.raises(ConfigError, match=message):
        build_from_inputs(wide, inputs)
    assert time.perf_counter() - started < 10


def test_saved_config_reads_the_parameters_of_an_inherited_init():
    class Model:
        def __init__(self, inputs, label="label"): ...

    class Child(Model):
        def __new__(cls, *args, **kwargs): ...

    assert saved_config(Child, {"inputs": []}) == {"inputs": []}
    with pytest.raises(UserError, match="'inputs' is missing"):
        saved_config(Child, {})
