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


def run_python(file, folder):
    """Runs the Python blocks of a file, each in a namespace of its own, all in one process."""
    code = [(f"{file}:{line}", text) for line, text in blocks(file, "python")]
    done = subprocess.run(
        [sys.executable, "-c", RUNNER], input=json.dumps(code), cwd=folder, text=True, stderr=subprocess.PIPE
    )
    assert done.returncode == 0, f"{file}:\n{done.stderr[-3000:]}"
