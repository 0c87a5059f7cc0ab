"""The Dockerfile: what can be checked without Docker."""

import json
import re
import shlex
from pathlib import Path

from ml4ir_losses.cli import make_app

ROOT = Path(__file__).parents[2]
LINES = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
STEPS = [line.split(maxsplit=1) for line in LINES if line and not line.startswith("#")]


def arguments(instruction):
    return [text.strip() for name, text in STEPS if name == instruction]


def test_what_is_copied_exists_and_is_not_ignored():
    ignored = (ROOT / ".dockerignore").read_text().split()
    copied = [path for text in arguments("COPY") if not text.startswith("--from") for path in text.split()[:-1]]
    assert {"setup.py", "ml4ir_losses"} <= set(copied)
    for path in copied:
        assert (ROOT / path).exists()
        assert f"!{path}" in ignored


def test_process_is_not_root_and_gets_signals():
    assert arguments("USER")[-1] != "root"
    (entry,), (command,) = arguments("ENTRYPOINT"), arguments("CMD")  # lists: no shell stands between it and signals
    line = [*json.loads(entry), *json.loads(command)]
    assert line[:2] == ["ml4ir-losses", "serve"]
    assert f"127.0.0.1:{line[line.index('--port') + 1]}/readyz" in "".join(arguments("HEALTHCHECK"))
    assert arguments("EXPOSE") == [line[line.index("--port") + 1]]


def test_health_check_is_a_program():
    check = arguments("HEALTHCHECK")[0]
    program = json.loads(check[check.index("CMD") + 3 :])
    assert program[:2] == ["python", "-c"]
    compile(program[2], "HEALTHCHECK", "exec")


def test_image_installs_the_package_with_one_extra():
    installed = [text for text in arguments("RUN") if "pip install" in text]
    assert len(installed) == 1
    assert shlex.split(installed[0])[-1] == ".[serve]"
    assert not re.search(r"https?://(?!127\.0\.0\.1)", "\n".join(LINES))


def test_command_serve_is_on_the_command_line():
    assert "serve" in [command.name for command in make_app().registered_commands]
