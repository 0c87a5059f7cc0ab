"""Random damage to the files of a run folder: bytes, values, archives, and what a file is."""

import json
import os
import re
import shutil
import stat
import tempfile
import zipfile
from copy import deepcopy
from pathlib import Path

import h5py
import numpy as np
import yaml

from ml4ir_losses.experiments.checkpoints.file import CheckpointFile, write_checkpoint

HUGE = 100 << 30  # bytes of a file that takes no room on disk


class Mutator:
    """Damages a random file of a folder in a random way.

    Args:
        rng: the source of randomness.
        outside: a folder with files that nothing may read.
        others: run folders whose files take the place of those of this one.
    """

    def __init__(self, rng, outside: Path, others) -> None:
        self.rng, self.outside, self.others = rng, outside, others

    def choice(self, items):
        return items[int(self.rng.integers(len(items)))]

    def mutate(self, folder: Path, name: str) -> str:
        """Damages a file and returns how."""
        path = folder / name
        kinds = [self._bytes, self._bytes, self._file]
        if path.suffix in (".json", ".yaml"):
            kinds += [self._tree, self._tree, self._nesting]
        if path.suffix == ".csv":
            kinds += [self._table, self._table]
        if path.suffix == ".keras":
            kinds += [self._archive] * 4
        if path.suffix == ".safetensors":
            kinds += [self._checkpoint] * 4
        kind = self.choice(kinds)
        return f"{name} {kind.__name__} {kind(path)}"

    def _bytes(self, path: Path) -> str:
        path.write_bytes(content := self.changed_bytes(path.read_bytes()))
        return f"{len(content)} bytes"

    def changed_bytes(self, old: bytes) -> bytes:
        """The bytes with flipped bits, parts left out, moved or made up, or other numbers."""
        rng, content = self.rng, bytearray(old)
        start, end = sorted(int(i) for i in rng.integers(0, len(old) + 1, 2))
        part = min(end, start + int(rng.integers(1, 64)))
        way = int(rng.integers(9))
        if way == 0 and old:
            for at in rng.integers(0, len(old), int(rng.integers(1, 4))):
                content[at] ^= 1 << int(rng.integers(8))
        elif way == 1:
            del content[start:]
        elif way == 2:
            del content[start:part]
        elif way == 3:
            content[start:start] = rng.bytes(int(rng.integers(1, 200)))
        elif way == 4:
            content[start:start] = content[start:end]
        elif way == 5:
            content[start:part] = bytes(part - start)
        elif way == 6:
            content = content[end:] + content[start:end] + content[:start]
        elif numbers := list(re.finditer(rb"-?\d+(\.\d+)?", old)):
            number = self.choice(numbers)
            new = [b"1e309", b"-1", b"NaN", b"Infinity", b"9" * 400, b"9" * 5000, b"0", b"", b"1e-320", b"true", b'"x"']
            content[number.start() : number.end()] = self.choice(new)
        return bytes(content)

    def _file(self, path: Path) -> str:
        """Another thing in the place of the file."""
        way = int(self.rng.integers(11))
        others = [other for other in path.parent.iterdir() if other != path and other.is_file()]
        others += [other / path.name for other in self.others if (other / path.name).is_file()]
        content = path.read_bytes()
        path.unlink()
        if way == 0:
            path.write_bytes(b"")
        elif way == 1:
            shutil.copy(self.choice(others), path)
        elif way == 2:
            path.mkdir()
        elif way == 3:
            target = self.outside / path.name
            path.symlink_to(target if target.exists() else self.outside / "secret.csv")
        elif way == 4:
            path.symlink_to(self.choice(["/dev/zero", "/dev/stdin", "/proc/self/environ"]))
        elif way == 5:
            path.symlink_to(path)
        elif way == 6:
            os.mkfifo(path)
        elif way == 7:
            path.symlink_to(Path("..", "..", *["x"] * 50))
        elif way == 8:
            path.write_bytes(content)
            os.truncate(path, HUGE)
        elif way == 9:
            path.write_bytes(self.rng.bytes(int(self.rng.integers(1, 5000))))
        return f"way {way}"

    def value(self):
        """A value of any type, such as no config or file expects."""
        text = [
            f"{self.outside}/secret.csv",
            f"../{self.outside.name}/secret.csv",
            "/etc/passwd",
            "x" * 10_000,
            "",
            "\0",
        ]
        text += ["os.system", "__import__('os')", "!!python/object:os.system", "../..", "nan", "é\u2028\ud7ff", "1"]
        numbers = [0, -1, 1, 10**9, 10**30, 1e308, -1e308, float("nan"), float("inf"), 0.5]
        shapes = [None, True, [], {}, [[]], [None], {"key": None}, {"": 1}, list(range(1000)), nested([], 60)]
        return self.choice([*text, *numbers, *shapes])

    def changed_tree(self, tree):
        """The tree of lists and mappings with another value, key or order somewhere."""
        places = list(_places(tree))
        if not places:
            return self.value()
        parent, key = self.choice(places)
        way = int(self.rng.integers(6))
        if way == 0:
            del parent[key]
        elif way == 1 and isinstance(parent, dict):
            parent[self.choice(["..", "../x", "", "unknown", "key", "inputs", "__class__"])] = parent.pop(key)
        elif way == 2:
            other, place = self.choice(places)
            parent[key] = deepcopy(other[place])
        else:
            parent[key] = self.value()
        return tree

    def _tree(self, path: Path) -> str:
        is_json = path.suffix == ".json"
        tree = json.loads(path.read_text()) if is_json else yaml.safe_load(path.read_text())
        before = json.dumps(tree)
        tree = self.changed_tree(tree)
        text = json.dumps(tree) if is_json else yaml.safe_dump(tree, allow_unicode=True)
        path.write_text(text, encoding="utf-8", errors="replace")
        return first_difference(before, json.dumps(tree, default=str))

    def _nesting(self, path: Path) -> str:
        depth = int(self.choice([30, 900, 5000, 100_000]))
        opening, closing = self.choice([("[", "]"), ('{"a":', "}"), ("{a: ", "}"), ("- ", "")])
        path.write_text(opening * depth + "1" + closing * depth)
        return f"{opening!r} {depth}"

    def _table(self, path: Path) -> str:
        rows = [line.split(",") for line in path.read_text().splitlines()]
        row = self.choice(rows if self.rng.random() < 0.7 else rows[:1])
        at = int(self.rng.integers(len(row)))
        way = int(self.rng.integers(5))
        if way == 0:
            del row[at]
        elif way == 1:
            row.append("1")
        elif way == 2:
            rows.remove(row)
        elif way == 3:
            rows.append(row)
        else:
            row[at] = str(self.value()).replace("\n", " ")
        path.write_text("\n".join(",".join(line) for line in rows) + "\n", encoding="utf-8", errors="replace")
        return f"way {way}"

    def _archive(self, path: Path) -> str:
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        way, compression = int(self.rng.integers(9)), zipfile.ZIP_STORED
        note = f"way {way}"
        if way <= 2:
            tree = json.loads(members["config.json"])
            before = json.dumps(tree)
            tree = self.changed_tree(tree)
            members["config.json"] = json.dumps(tree).encode(errors="replace")
            note += first_difference(before, members["config.json"].decode())
        elif way == 3:
            members["model.weights.h5"] = self.changed_bytes(members["model.weights.h5"])
        elif way == 4:
            members["model.weights.h5"], change = self._weights(members["model.weights.h5"])
            note += f" {change}"
        elif way == 5:
            name = self.choice(list(members))
            members[self.choice(["../../x", "/tmp/x", "config.json/..", "..", "assets/../../x", ""])] = members.pop(
                name
            )
        elif way == 6:
            members[self.choice([*members, "bomb"])], compression = (
                bytes(self.choice([1 << 20, 100 << 20])),
                zipfile.ZIP_DEFLATED,
            )
        elif way == 7:
            tree = self.changed_tree(json.loads(members["metadata.json"]))
            members["metadata.json"] = json.dumps(tree).encode(errors="replace")
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, content in members.items():
                info = zipfile.ZipInfo(name)
                if way == 8 and name == "model.weights.h5":
                    info.external_attr = (stat.S_IFLNK | 0o777) << 16
                    content = str(self.outside / "secret.csv").encode()
                archive.writestr(info, content, compression)
        return note

    def _checkpoint(self, path: Path) -> str:
        """A checkpoint that is whole, and holds something else."""
        file = CheckpointFile(path)
        values, arrays = file.values, {name: file.array(name) for name in file.names}
        way, name = int(self.rng.integers(6)), self.choice(list(arrays))
        note = f"way {way} {name}"
        if way <= 2:
            before = json.dumps(values)
            values = self.changed_tree(values)
            note = first_difference(before, json.dumps(values))
        elif way == 3:
            arrays[self.choice(["../x", "model/x", "model/-1", "best/0", "x", f"{name}0"])] = arrays.pop(name)
        elif way == 4:
            shape = np.shape(arrays[name])
            arrays[name] = self.choice(
                [np.full(shape, np.nan, "float32"), np.zeros((*shape, 2), "float32"), np.zeros(shape, "int8")]
            )
        else:
            del arrays[name]
        write_checkpoint(path, values, arrays)
        return note

    def _weights(self, content: bytes) -> tuple[bytes, str]:
        """The weights with a dataset of another kind, shape, place or values."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "w.h5")
            path.write_bytes(content)
            with h5py.File(path, "r+") as file:
                names: list[str] = []
                file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
                name = self.choice(names)
                values = file[name][()]
                del file[name]
                way = self.choice(
                    ["external", "link", "soft", "virtual", "gone", "nan", "shape", "type", "fill", "group"]
                )
                if way == "external":
                    raw = [(str(self.outside / "secret.csv"), 0, h5py.h5f.UNLIMITED)]
                    file.create_dataset(name, shape=np.shape(values), dtype="float32", external=raw)
                elif way == "link":
                    file[name] = h5py.ExternalLink(str(self.outside / "secret.h5"), "/x")
                elif way == "soft":
                    file[name] = h5py.SoftLink("/" + self.choice(names))
                elif way == "virtual":
                    layout = h5py.VirtualLayout(shape=(4,), dtype="float32")
                    layout[:] = h5py.VirtualSource(str(self.outside / "secret.h5"), "x", shape=(4,))
                    file.create_virtual_dataset(name, layout)
                elif way == "nan":
                    file[name] = np.full_like(values, np.nan, dtype="float32")
                elif way == "shape":
                    file[name] = np.zeros((*np.shape(values), 2), "float32")
                elif way == "type":
                    file[name] = np.full(np.shape(values), b"text")
                elif way == "fill":  # terabytes that take no room in the file
                    file.create_dataset(name, shape=(10**12,), dtype="float32", chunks=(1024,), fillvalue=1)
                elif way == "group":
                    file.create_group(name)
            return path.read_bytes(), way


def nested(value, depth: int):
    """The value within so many lists."""
    for _ in range(depth):
        value = [value]
    return value


def _places(tree):
    """(list or mapping, index or key) of every value in a tree."""
    if isinstance(tree, (dict, list)):
        for key, value in list(tree.items() if isinstance(tree, dict) else enumerate(tree)):
            yield tree, key
            yield from _places(value)


def first_difference(before: str, after: str) -> str:
    """The first place where two texts differ."""
    at = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(len(before), len(after)))
    return f"{before[max(at - 40, 0) : at + 40]} -> {after[max(at - 10, 0) : at + 60]}"
