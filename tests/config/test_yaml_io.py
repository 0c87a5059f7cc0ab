"""YAML files and `--set` values that must end in one clear line."""

import os
import time

import pytest

from ml4ir_losses.config.load import load_config
from ml4ir_losses.config.yaml_io import read_yaml
from ml4ir_losses.core.errors import ConfigError
from small import config

BOMB = "\n".join(["a0: &a0 [1]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9))])


def refused(path):
    with pytest.raises(ConfigError) as caught:
        read_yaml(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message


def written(tmp_path, content):
    path = tmp_path / "c.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_aliases_that_expand_beyond_a_limit_are_refused(tmp_path):
    started = time.perf_counter()
    message = refused(written(tmp_path, BOMB))
    assert "line 6, column" in message
    assert "it holds more than 100,000 values, aliases (*name) expanded" in message
    assert time.perf_counter() - started < 2


def test_aliases_in_set_values_are_counted(tmp_path):
    nested = "[&a [1,1,1,1,1,1,1,1,1]"
    for n in range(8):
        nested += f", &{'abcdefghi'[n + 1]} [{', '.join(['*' + 'abcdefghi'[n]] * 9)}]"
    with pytest.raises(ConfigError, match=r"the value is not valid YAML .it holds more than 100,000 values"):
        load_config(config(tmp_path), [f"model.architecture.hidden_units={nested}]"])


def test_aliases_within_the_limit_are_read(tmp_path):
    raw = read_yaml(written(tmp_path, "a: &a [1, 2]\nb: {<<: &m {x: 1}, y: *a}\nc: *m\n"))
    assert raw == {"a": [1, 2], "b": {"x": 1, "y": [1, 2]}, "c": {"x": 1}}


def test_recursive_alias_is_refused(tmp_path):
    assert "stands inside of what it names" in refused(written(tmp_path, "a: &a [1, *a]"))


def test_deep_nesting_is_refused(tmp_path):
    assert "nested too deeply" in refused(written(tmp_path, "a: " + "[" * 5000 + "]" * 5000))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x89PNG\r\n\x1a\n\x00\x00", "is not a UTF-8 text file"),
        (b"a: 1\x00", "is a binary file, not text"),
        ("a: 1".encode("utf-16"), "is UTF-16 text; save it as UTF-8, for instance with: iconv -f UTF-16 -t UTF-8"),
        ("a: 1".encode("utf-32"), "is UTF-32 text"),
        (b"#" * (5 << 20), "is too large for a config: 5.0 MiB, at most 4.0 MiB are read"),
        (b"", "a config is a mapping of keys. Received: NoneType"),
        (b"\x01", "special characters are not allowed"),
    ],
)
def test_files_that_hold_no_config_are_refused(tmp_path, content, message):
    assert message in refused(written(tmp_path, content))


def test_utf8_with_a_byte_order_mark_is_read(tmp_path):
    assert read_yaml(written(tmp_path, "a: 1".encode("utf-8-sig"))) == {"a": 1}


def test_non_file_is_refused(tmp_path):
    assert "cannot be read (Is a directory)" in refused(tmp_path)
    assert "cannot be read (No such file" in refused(tmp_path / "none.yaml")
    os.mkfifo(tmp_path / "pipe")
    assert "is a pipe or a device" in refused(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="is a pipe or a device"):
        load_config("/dev/zero")


def test_unreadable_file_is_refused(tmp_path, monkeypatch):
    def forbid(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_bytes", forbid)
    assert "cannot be read (Permission denied)" in refused(written(tmp_path, "a: 1"))


def test_included_files_are_checked_too(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="pipe: is a pipe or a device"):
        load_config(config(tmp_path, features=str(tmp_path / "pipe")))
