"""The code blocks of the repository's Markdown files."""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
RUNNER = """
import json, sys
for name, code in json.load(sys.stdin):
    print(f"-- {name}", file=sys.stderr)
    exec(compile(code, name, "exec"), {"__name__": "__main__"})
"""


def blocks(file, kind):
    """The blocks of one kind: [(line, text)]; `file` is relative to the repository."""
    text = (ROOT / file).read_text(encoding="utf-8")
    found = re.finditer(rf"^```{kind}\n(.*?)^```$", text, re.S | re.M)
    return [(text.count("\n", 0, match.start()) + 1, match[1]) for match in found]


def run_section(file, title, folder):
    """Runs the Python blocks above the first section of a file and those of one section, in one namespace, eagerly."""
    text = (ROOT / file).read_text(encoding="utf-8")
    head, *sections = re.split(r"^(?=## )", text, flags=re.M)
    section = next(section for section in sections if section.startswith(f"## {title}\n"))
    code = "\n".join(re.findall(r"^```python\n(.*?)^```$", head + section, re.S | re.M))
    eager = "import tensorflow as tf\n"
    eager += "tf.config.run_functions_eagerly(True)\n"  # compiling takes most of the time of such small models
    done = subprocess.run([sys.executable, "-c", eager + code], cwd=folder, text=True, stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr[-3000:]


def commands(file):
    """The commands of the `console` blocks, without comments."""
    lines = [line for _, text in blocks(file, "console") for line in text.splitlines()]
    return [line[2:].partition("  #")[0].strip() for line in lines if line.startswith("$ ")]


def run_python(files, folder):
    """Runs the Python blocks of files, each in a namespace of its own, all in one process."""
    code = [(f"{file}:{line}", text) for file in files for line, text in blocks(file, "python")]
    done = subprocess.run(
        [sys.executable, "-c", RUNNER], input=json.dumps(code), cwd=folder, text=True, stderr=subprocess.PIPE
    )
    assert done.returncode == 0, done.stderr[-3000:]


def run_commands(file, folder, train=""):
    """Runs the `ml4ir-losses` commands of a file, `train` with more arguments; their names."""
    program = Path(sys.executable).with_name("ml4ir-losses")
    lines = [line for line in commands(file) if line.startswith("ml4ir-losses ")]
    for line in lines:
        arguments = line.removeprefix("ml4ir-losses ")
        more = train if arguments.startswith("train ") else ""
        subprocess.run(f"{program} {arguments} {more}", shell=True, cwd=folder, check=True)
    return [line.split()[1] for line in lines]
