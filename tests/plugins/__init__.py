"""A package of somebody else, as it lies where Python finds packages: a module and the metadata with entry points."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ENTRY_POINTS = """
[ml4ir_losses.losses]
outside_loss = outside_package:OutsideLoss
[ml4ir_losses.metrics]
outside_metric = outside_package:outside_metric
[ml4ir_losses.lambda_weights]
outside_weight = outside_package:OutsideWeight
[ml4ir_losses.architectures]
outside_scorer = outside_package:outside_scorer
outside_texts = outside_package:outside_texts
[ml4ir_losses.encoders]
outside_encoder = outside_package:outside_encoder
[ml4ir_losses.readers]
outside_reader = outside_package:outside_reader
[ml4ir_losses.transforms]
outside_transform = outside_package:OutsideTransform
[ml4ir_losses.batchings]
outside_batching = outside_package:OutsideBatching
[ml4ir_losses.commands]
outside-command = outside_package:outside_command
"""


def install(folder: Path, name: str, entry_points: str) -> None:
    """Puts the metadata of a package into a folder."""
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(entry_points)


def install_outside_package(folder: Path) -> Path:
    """The module `outside_package` with all its entry points."""
    install(folder, "outside-package", ENTRY_POINTS)
    shutil.copy(Path(__file__).with_name("outside_package.py"), folder)
    return folder


def python(folder: Path, code: str, *args: object) -> subprocess.CompletedProcess[str]:
    """Runs code in a process that finds the packages of a folder."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    command = [sys.executable, "-c", code, *map(str, args)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)


COMMAND_LINES = """
import json, sys
from ml4ir_losses.cli import main
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["ml4ir-losses", *arguments]
    try: main()
    except SystemExit as stop:
        if stop.code: raise
"""


def command_lines(folder: Path, *lines: list[object]) -> subprocess.CompletedProcess[str]:
    """Runs `ml4ir-losses` in one such process with each of these arguments, until one of them fails."""
    return python(folder, COMMAND_LINES, json.dumps([list(map(str, line)) for line in lines]))


def command_line(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs `ml4ir-losses` once."""
    return command_lines(folder, list(arguments))
