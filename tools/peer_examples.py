"""docs/examples-of-the-peers.md: each documented class of the peers beside ours, from peer_examples.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

TABLE = Path(__file__).with_suffix(".yaml")
TITLE = """# The examples of the peers

Every class of the loss pages of sentence-transformers 6.2, of ml4ir and of Embedding Studio: the peer's way first, ours
below it. Both train from the same Python data, given once per section. The peer's blocks need its imports:

```py
from datasets import Dataset
from sentence_transformers import CrossEncoder, SentenceTransformer, SentenceTransformerTrainer, losses
from sentence_transformers.cross_encoder import CrossEncoderTrainer, losses as cross_losses
```

Ours need one:

```python
from ml4ir_losses import train
```

Ours start from a small encoder with random weights; for a pretrained one the architecture is
`{"key": "bi_encoder", "encoder": {"key": "keras_hub", "preset": FOLDER}}`. `run.model` is the trained model, `run.path`
its run folder, and `run.predict(data)` scores rows.
"""
GUIDE = 'guide = SentenceTransformer("sentence-transformers/all-MiniLM-L6-v2")'
OUR_GUIDE = """model = {"architecture": "bi_encoder", "loss": "multiple_negatives_ranking"}
guide = train({"data": {"columns": ["anchor", "positive"]}, "model": model, "training": {"epochs": 3}}, data=pairs)"""
KERAS = """## Losses of any Keras model: ml4ir and Embedding Studio

```python
import keras
import numpy as np
from ml4ir_losses import get_loss

rng = np.random.default_rng(0)
x = rng.normal(size=(32, 5, 4))  # queries, documents, features
y = (x[:, :, 0] > 0.5).astype("float32")
y[:, 4:] = -1  # a label below 0 marks padding
model = keras.Sequential([keras.layers.Dense(1), keras.layers.Reshape((-1,))])
```
"""
ML4IR = {  # the class there, our key
    "SigmoidCrossEntropy": "sigmoid_cross_entropy",
    "RankOneListNet": "rank_one_listnet",
    "BasicCrossEntropy": "softmax_cross_entropy",
}
PROB_MARGIN = """### ProbMarginRankingLoss

```py
features = FineTuningFeatures(positive_ranks, negative_ranks, target, positive_confidences, negative_confidences)
loss = ProbMarginRankingLoss(base_margin=1.0)(features)
loss.backward()
```

On pairs as there, and on lists:

```python
from ml4ir_losses.compat.embedding_studio import FineTuningFeatures, ProbMarginRankingLoss

features = FineTuningFeatures([0.9, 0.4], [0.2, 0.5], [1.0, 1.0], [1.0, 0.8], [1.0, 0.9])
value = ProbMarginRankingLoss(base_margin=1.0)(features)

model.compile("adam", loss=get_loss("prob_margin_ranking", base_margin=1.0).get_loss_fn())
model.fit(x, y, verbose=0)
```
"""


class Code(str):
    """Source code in the place of a value."""

    def __repr__(self) -> str:
        return str(self)


def render() -> str:
    """The page."""
    sections = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    parts = [part for section in sections for part in _section(section)]
    return "\n".join([TITLE, *parts, KERAS, *(_ml4ir(peer, key) for peer, key in ML4IR.items()), PROB_MARGIN])


def _section(section: dict[str, Any]) -> list[str]:
    parts = [f"## {section['title']}\n"]
    for data in section["data"]:
        parts.append(f"### {data['title']}\n\n```python\n{data['name']} = {_python(data['columns'])}\n```\n")
        for name, given in data["examples"].items():
            example = given if isinstance(given, dict) else {"loss": given}
            peer, ours = _peer(name, example, data["name"], section), _ours(example, data, section)
            parts.append(f"#### {name}\n\n```py\n{peer}\n```\n\n```python\n{ours}\n```\n")
    return parts


def _peer(name: str, example: dict[str, Any], data: str, section: dict[str, Any]) -> str:
    """The peer's example."""
    arguments = ", ".join(filter(None, ["model", example.get("arguments")]))
    lines = [f"model = {section['model']}"]
    rows = f"Dataset.from_dict({data})"
    if example.get("guided"):
        lines.append(GUIDE)
        if "arguments" not in example:  # the guide's embeddings are labels
            rows += '.map(lambda rows: {"label": guide.encode(rows["anchor"])}, batched=True)'
    lines += [f"dataset = {rows}", f"loss = {section['module']}.{name}({arguments})"]
    return "\n".join([*lines, f"{section['trainer']}(model=model, train_dataset=dataset, loss=loss).train()"])


def _ours(example: dict[str, Any], data: dict[str, Any], section: dict[str, Any]) -> str:
    """Our example."""
    guided = bool(example.get("guided"))
    teacher = {"teacher": Code("str(guide.path)")} if guided else {}
    config = {
        "data": {"columns": example.get("roles", data["roles"]), **teacher},
        "model": {"architecture": example.get("architecture", section["architecture"]), "loss": example["loss"]},
        "training": {"epochs": 3},
    }
    return "\n".join(
        [OUR_GUIDE] * guided + [f"config = {_python(config)}", f"run = train(config, data={data['name']})"]
    )


def _ml4ir(peer: str, key: str) -> str:
    return f"""### {peer}

```py
loss = {peer}()
model.compile("adam", loss=loss.get_loss_fn(mask=mask))
model.fit(dataset)
```

```python
loss = get_loss("{key}")
model.compile("adam", loss=loss.get_loss_fn())
model.fit(x, y, verbose=0)
```
"""


def _python(value: Any, indent: int = 0, broken: bool = True) -> str:
    """A value as Python source in double quotes; a dict that is `broken`, or too long, has a line per key."""
    inline = repr(value).replace("'", '"')
    if not isinstance(value, (dict, list)) or (not broken and len(inline) + indent <= 96):
        return inline
    space = " " * (indent + 4)
    if isinstance(value, list):
        lines = [_python(item, indent + 4, broken=False) for item in value]
    else:
        lines = [f"{_python(key)}: {_python(cell, indent + 4, broken=False)}" for key, cell in value.items()]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return "\n".join([opening, *(f"{space}{line}," for line in lines), " " * indent + closing])
