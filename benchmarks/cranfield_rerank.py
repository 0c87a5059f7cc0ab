"""Reranks BM25's 100 best documents of every Cranfield question and tests the difference.

    ml4ir-losses train configs/cranfield_bi_encoder.yaml --run-dir runs/cranfield_bi_encoder
    python benchmarks/cranfield_rerank.py [--collection DIR] [--encoder RUN] [--folder DIR] [--seeds 1 2 3]

Features: BM25 and the bi-encoder's cosine, each with title, body and both, and their lengths; none reads a judgment.
The questions are dealt out to five folds; each fold is ranked by a model of configs/cranfield_rerank.yaml that was
trained on three others and stopped by the fourth. Folds that are done are not trained again. nDCG@10 over all
questions, gains are the grades; the test is the paired t-test over questions.
"""

from __future__ import annotations

import argparse
import csv
import logging
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from scipy.stats import ttest_rel

from ml4ir_losses import RetrievalEvaluator, load_config, load_model, train
from ml4ir_losses.data.readers import read_table
from ml4ir_losses.data.texts.collection import read_collection
from ml4ir_losses.evaluation.bm25 import bm25_scores
from ml4ir_losses.evaluation.nearest import normalize_rows

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
FOLDS, DEPTH = 5, 100


def features(encoder, titles, bodies, questions):
    """Every feature by name, [Q, D]."""
    fields = {"title": titles, "body": bodies, "both": [f"{t} {b}" for t, b in zip(titles, bodies, strict=True)]}
    question_vectors, found = normalize_rows(encoder.encode(questions, "anchor")), {}
    for name, texts in fields.items():
        found[f"bm25_{name}"] = bm25_scores(texts, questions)
        found[f"cosine_{name}"] = question_vectors @ normalize_rows(encoder.encode(texts, "positive")).T
    for name in ("title", "body"):
        lengths = [float(len(text.split())) for text in fields[name]]
        found[f"words_{name}"] = np.broadcast_to(lengths, found["bm25_title"].shape)
    return found


def write_folds(folder, evaluator, questions, ids, found, seed):
    """A CSV per fold; the ids of BM25's best documents by question."""
    candidates = np.argsort(-found["bm25_both"], axis=1, kind="stable")[:, :DEPTH]
    fold = np.random.default_rng(seed).permutation(len(questions)) % FOLDS
    for number in range(FOLDS):
        with (folder / f"fold_{number}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["query_id", "doc_id", "label", *found])
            for q in np.flatnonzero(fold == number):
                grades = evaluator.judgments.get(questions[q], {})
                for d in candidates[q]:
                    values = (f"{x[q, d]:.6g}" for x in found.values())
                    writer.writerow([questions[q], ids[d], grades.get(ids[d], 0), *values])
    return {query: [ids[d] for d in row] for query, row in zip(questions, candidates, strict=True)}


def rerank(folder, seed):
    """The ranking of every question, each by the model that did not see its fold."""
    rankings = {}
    for fold in range(FOLDS):
        run = folder / f"seed_{seed}_fold_{fold}"
        others = [f"fold_{(fold + step) % FOLDS}.csv" for step in range(1, FOLDS)]
        if not (run / "metrics.json").exists():
            train(
                CONFIGS / "cranfield_rerank.yaml",
                run,
                seed=seed,
                overrides=[
                    f"data.directory={folder}",
                    f"data.train=[{', '.join(others[1:])}]",
                    f"data.validation={others[0]}",
                    f"data.test=fold_{fold}.csv",
                ],
            )
            print(f"seed {seed}, fold {fold + 1} of {FOLDS}", flush=True)
        with (run / "predictions.csv").open(newline="", encoding="utf-8") as file:
            for row in sorted(csv.DictReader(file), key=lambda row: int(row["rank"])):
                rankings.setdefault(row["query_id"], []).append(row["document_id"])
    return rankings


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collection", help="folder of docs.tsv, queries.tsv and qrels.tsv; that of the config else")
    parser.add_argument("--encoder", default="runs/cranfield_bi_encoder", help="run folder of the bi-encoder")
    parser.add_argument("--folder", type=Path, default=Path("runs/cranfield_rerank"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    args = parser.parse_args()
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of every new list length
    overrides = [f"data.directory={args.collection}"] if args.collection else []
    data = load_config(CONFIGS / "cranfield_bi_encoder.yaml", overrides).data
    collection = read_collection(data)
    table = read_table(data.paths(data.retrieval.corpus))
    evaluator = RetrievalEvaluator(collection.corpus, collection.queries, collection.judgments, [("ndcg", 10)])
    questions = evaluator.query_ids
    texts = [collection.queries[q] for q in questions]
    found = features(load_model(args.encoder), list(table.strings("title")), list(table.strings("text")), texts)
    args.folder.mkdir(parents=True, exist_ok=True)
    bm25 = write_folds(args.folder, evaluator, questions, list(collection.corpus), found, seed=1)
    base = evaluator.per_query(bm25)["ndcg_10"]
    place = {document: row for row, document in enumerate(collection.corpus)}
    cosine = {
        question: sorted(bm25[question], key=lambda document, row=row: -found["cosine_both"][row][place[document]])
        for row, question in enumerate(questions)
    }
    print("| | nDCG@10 | p against BM25 |\n|---|---|---|")
    print(f"| BM25 | {base.mean():.4f} | |")
    alone = evaluator.per_query(cosine)["ndcg_10"]
    print(f"| bi-encoder's cosine, of BM25's {DEPTH} | {alone.mean():.4f} | {ttest_rel(alone, base).pvalue:.1e} |")
    for seed in args.seeds:
        values = evaluator.per_query(rerank(args.folder, seed))["ndcg_10"]
        print(f"| ranker, seed {seed} | {values.mean():.4f} | {ttest_rel(values, base).pvalue:.1e} |", flush=True)


if __name__ == "__main__":
    main()
