"""Writes every file that repeats what the registries know: `python -m tools.generate`, or `make generate`.

`--check` writes nothing and exits with 1 if a file is out of date.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from tools import loss_catalogue, peer_examples, public_names

ROOT = Path(__file__).resolve().parents[1]
COMMAND = "make generate"
FILES: dict[str, Callable[[str], str]] = {
    "ml4ir_losses/__init__.pyi": public_names.stub,
    "ml4ir_losses/functional.pyi": public_names.functional,
    "ml4ir_losses/keys.py": public_names.keys,
    "README.md": public_names.readme,
    "docs/which-loss.md": public_names.guide,
    "docs/losses.md": lambda _: loss_catalogue.render(),
    "docs/examples-of-the-peers.md": lambda _: peer_examples.render(),
}
"""The new text of each file, from its present one."""


def outdated() -> dict[str, str]:
    """The new text of each file that is out of date."""
    texts = {name: (ROOT / name).read_text(encoding="utf-8") if (ROOT / name).exists() else "" for name in FILES}
    return {name: new for name, text in texts.items() if (new := FILES[name](text)) != text}


def main() -> int:
    """Writes what is out of date; with `--check` only names it."""
    found = outdated()
    for name, text in found.items():
        if "--check" in sys.argv[1:]:
            print(f"{name} is out of date, run: {COMMAND}")
        else:
            (ROOT / name).write_text(text, encoding="utf-8")
            print(f"{name} written")
    return int("--check" in sys.argv[1:] and bool(found))


if __name__ == "__main__":
    sys.exit(main())
