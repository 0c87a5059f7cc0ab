"""What `files.json` says about a run folder."""

import json

import pytest

from ml4ir_losses import __version__
from ml4ir_losses.config.load import load_run_config
from ml4ir_losses.core.checksums import RECORD, write_checksums
from ml4ir_losses.core.errors import ConfigError, UserError
from ml4ir_losses.model.loading import load_model


def run_of(folder, version):
    """A folder whose config and model this version cannot read."""
    (folder / "config.yaml").write_text("name: run\nnew_section: {}\n")
    (folder / "model.keras").write_bytes(b"a format to come")
    write_checksums(folder)
    record = json.loads((folder / RECORD).read_text())
    assert record["package"] == __version__
    (folder / RECORD).write_text(json.dumps({**record, "package": version}))
    return folder


def test_run_of_another_version_that_cannot_be_read_names_it(tmp_path):
    run = run_of(tmp_path, "9.1.0")
    expected = f"was written by ml4ir-losses 9.1.0 and cannot be read by {__version__}: install that version"
    with pytest.raises(ConfigError, match=expected) as error:
        load_run_config(run)
    assert "new_section" in str(error.value)
    with pytest.raises(UserError, match=expected):
        load_model(run)


@pytest.mark.parametrize("version", [__version__, None])
def test_run_of_this_version_or_of_none_has_no_such_advice(tmp_path, version):
    run = run_of(tmp_path, version)
    for read in (load_run_config, load_model):
        with pytest.raises(UserError) as error:
            read(run)
        assert "was written by" not in str(error.value)
