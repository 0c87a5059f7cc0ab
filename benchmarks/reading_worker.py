"""Another library's reader of a data file, for `reading.py`: answers each line of its input with the seconds it took.

python benchmarks/reading_worker.py LIBRARY FILE
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time


def main() -> None:
    """Answers lines of JSON on what was stdout; libraries write there as they please."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    read = importlib.import_module(f"peers.{sys.argv[1]}").reader(sys.argv[2])
    for _ in sys.stdin:
        start = time.perf_counter()
        rows = read()
        print(json.dumps({"seconds": time.perf_counter() - start, "rows": rows}), file=answers, flush=True)


if __name__ == "__main__":
    main()
