"""Documents per second of training, beside TF-Ranking, allRank and bare Keras on the same data and network.

    python benchmarks/end_to_end.py --tf-ranking PYTHON --allrank PYTHON [--rounds 3] [--prefix "taskset -c 0,1"]

The interpreters are those of the environments of `benchmarks/peers`; a contestant without one is left out. 136
features, list lengths like those of MSLR, hidden layers of 256 and 128, Adam, 32 queries per batch, data in memory.
Only documents count, padding does not. Each measurement is a process of its own, the contestants take turns, and the
first epoch warms up. The queries are more than are sorted by length together, so that every epoch has other batches.
A table in Markdown goes to stdout: medians, and ours over each of the others.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent


class Contestant(NamedTuple):
    """Who, what, the script that trains it, its variant, and whose interpreter runs it."""

    library: str
    what: str
    script: str
    variant: str
    home: str = "ours"


OURS = "ml4ir_losses"
CONTESTANTS = [
    Contestant(OURS, "lambda_loss", "ours", "lambda_loss"),
    Contestant(OURS, "pairwise_logistic, NDCG weights", "ours", "pairwise_logistic"),
    Contestant(OURS, "softmax_cross_entropy", "ours", "softmax_cross_entropy"),
    Contestant(OURS, "lambda_loss, metrics ndcg_10 and mrr", "ours", "lambda_loss+default"),
    Contestant(OURS, "lambda_loss, five metrics", "ours", "lambda_loss+five"),
    Contestant("Keras", "mean squared error, documents without lists", "ours", "keras_documents"),
    Contestant("Keras", "mean squared error, padded lists", "ours", "keras_padded"),
    Contestant("TF-Ranking", "pairwise logistic, NDCG weights", "tf_ranking", "ndcg", "tf_ranking"),
    Contestant("TF-Ranking", "pairwise logistic, NDCG weights V2", "tf_ranking", "ndcg2", "tf_ranking"),
    Contestant("allRank", "lambdaLoss, ndcgLoss2PP", "allrank", "ndcgLoss2PP_scheme", "allrank"),
]


def main():
    """Measures in turns, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tf-ranking", metavar="PYTHON")
    parser.add_argument("--allrank", metavar="PYTHON")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--queries", type=int, default=4500)
    parser.add_argument("--epochs", type=int, default=1, help="timed epochs of each process")
    parser.add_argument("--prefix", default="", help="command that each measurement is run by")
    parser.add_argument("--only", nargs="*", help="words, one of which the library or what it does must contain")
    options = parser.parse_args()
    homes = {"ours": sys.executable, "tf_ranking": options.tf_ranking, "allrank": options.allrank}
    contestants = [c for c in CONTESTANTS if homes[c.home] and _asked(c, options.only)]
    rates = {contestant: [] for contestant in contestants}
    for _ in range(options.rounds):
        for contestant in contestants:
            rates[contestant] += measure(contestant, homes[contestant.home], options)
            print(f"{contestant.library}: {contestant.what}: {rates[contestant][-1]:,.0f}", file=sys.stderr)
    print(table({contestant: statistics.median(values) for contestant, values in rates.items()}))


def _asked(contestant, words):
    return not words or any(word in f"{contestant.library} {contestant.what}" for word in words)


def measure(contestant, python, options):
    """Documents per second of each timed epoch of one process."""
    command = [
        *shlex.split(options.prefix),
        *(python, str(HERE / f"end_to_end_{contestant.script}.py"), contestant.variant),
        *("--queries", str(options.queries), "--epochs", str(options.epochs)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{contestant.library}, {contestant.what}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])["rates"]


def table(medians):
    """The medians in Markdown, and how many times as fast as each our lambda loss is."""
    ours = medians.get(CONTESTANTS[0])
    lines = ["| library | trained with | documents per second | lambda_loss over it |", "|---|---|---:|---:|"]
    for contestant, rate in medians.items():
        ratio = f"{ours / rate:.2f}" if ours else ""
        lines.append(f"| {contestant.library} | {contestant.what} | {rate:,.0f} | {ratio} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
