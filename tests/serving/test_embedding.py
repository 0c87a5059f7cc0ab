"""Requests for embeddings and for the nearest documents."""

import json

import numpy as np
import pytest
import runs

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.experiments.text_commands import search
from ml4ir_losses.model.loading import load_model
from ml4ir_losses.serving.embedding import Texts
from ml4ir_losses.serving.service import load_service
from ml4ir_losses.serving.settings import Limits

pytestmark = pytest.mark.backend("tensorflow")
QUERIES = ["wing flow", "heat", "shock wave body layer"]


@pytest.fixture(scope="module")
def run(tmp_path_factory, eager):
    with eager():
        return runs.text_run(tmp_path_factory.mktemp("texts"), "multiple_negatives_ranking")


@pytest.fixture(scope="module")
def service(run):
    service = load_service(run, Limits(top=50), index=run.parent / "docs.csv", columns=["text"], identity="doc_id")
    yield service
    service.close()


def ask(service, operation, **request):
    return service.start(operation, json.dumps(request).encode()).result(30)


@pytest.mark.parametrize(("side", "column"), [("query", "anchor"), ("document", "positive")])
def test_embeddings_are_those_of_encode(run, service, side, column):
    found = ask(service, "embed", texts=QUERIES, side=side)["embeddings"]
    np.testing.assert_allclose(found, load_model(run).encode(QUERIES, column), rtol=1e-6, atol=1e-7)


def test_found_documents_are_those_of_the_command(run, service):
    expected = search(run, str(run.parent / "docs.csv"), {q: q for q in QUERIES}, 4, ["text"], "doc_id")
    results = ask(service, "search", queries=QUERIES, top=4)["results"]
    found = [(r["query"], d["rank"], d["id"], d["text"]) for r in results for d in r["documents"]]
    assert found == [(query, rank, name, text) for query, rank, name, _, text in expected]
    scores = [d["score"] for r in results for d in r["documents"]]
    np.testing.assert_allclose(scores, [row[3] for row in expected], rtol=1e-5, atol=1e-6)


def test_joined_items_get_their_own_results(service):
    embedding = service.operations["embed"].start.__self__
    items = [Texts(QUERIES[:2], "anchor"), Texts(QUERIES[:1], "positive"), Texts(QUERIES[1:], "anchor", 2)]
    items.append(Texts(QUERIES[:1], "anchor", 3))
    together = embedding._call(items)
    for item, found in zip(items, together, strict=True):
        (alone,) = embedding._call([item])
        for part, other in zip(found, alone, strict=True):
            np.testing.assert_allclose(part, other, rtol=1e-6, atol=1e-6)


def test_all_documents_are_found_where_more_are_asked_for(service):
    (result,) = ask(service, "search", queries=["wing"], top=50)["results"]
    assert sorted(int(d["id"]) for d in result["documents"]) == list(range(40))


@pytest.mark.parametrize(
    ("operation", "request_", "message"),
    [
        ("embed", {"texts": []}, "texts: must have at least 1 item"),
        ("embed", {"texts": "wing"}, "texts: must be a list. Received: 'wing'"),
        ("embed", {"texts": ["a"], "side": "left"}, "side: must be 'query' or 'document'. Received: 'left'"),
        ("embed", {"text": ["a"]}, "text: there is no such name. Did you mean 'texts'?"),
        ("search", {"queries": [None]}, "queries[0]: must be a text. Received: None"),
        ("search", {"queries": ["a"], "top": 51}, "top: must be less than or equal to 50. Received: 51"),
        ("rank", {}, "kind embedding; it offers embed, search"),
    ],
)
def test_a_wrong_request_gets_one_line(service, operation, request_, message):
    with pytest.raises(UserError) as error:
        ask(service, operation, **request_)
    assert message in str(error.value)


def test_examples_can_be_answered(service):
    service.warm_up()


def test_without_documents_there_is_no_search_and_a_ranking_run_has_none(run, tmp_path):
    service = load_service(run)
    assert list(service.operations) == ["embed"]
    service.close()
    with pytest.raises(UserError, match="no column 'body'"):
        load_service(run, index=run.parent / "docs.csv", columns=["body"])
    with pytest.raises(UserError, match="is not a run folder"):
        load_service(tmp_path)
