"""Requests to rank documents: the scores are those of the run, whatever a request is joined with."""

import json

import numpy as np
import pytest
import runs

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.data.memory import memory_table
from ml4ir_losses.experiments.explaining import explain_rows
from ml4ir_losses.model.loading import load_model
from ml4ir_losses.serving.encoding import Encoder
from ml4ir_losses.serving.model_call import Scores
from ml4ir_losses.serving.service import load_service
from ml4ir_losses.serving.settings import Limits
from ml4ir_losses.text.tokenizers import WordTokenizer

pytestmark = pytest.mark.backend("tensorflow")


@pytest.fixture(scope="module")
def run(tmp_path_factory, eager):
    with eager():
        return runs.feature_run(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def service(run):
    service = load_service(run, Limits(documents=20, queries=4))
    yield service
    service.close()


def rank(service, request):
    return service.start("rank", json.dumps(request).encode()).result(30)["results"]


def refused(service, request):
    body = request if isinstance(request, bytes) else json.dumps(request).encode()
    with pytest.raises(UserError) as error:
        service.start("rank", body).result(30)
    assert "\n" not in str(error.value)
    return str(error.value)


def by_index(results, name):
    """A value of every document, in the order of the request."""
    return [d[name] for query in results for d in sorted(query["documents"], key=lambda d: d["index"])]


def test_scores_are_those_of_predict_rows(run, service):
    asked = runs.queries(4, seed=5)
    results = rank(service, {"queries": asked})
    model, data = load_model(run), runs.columns(asked)
    np.testing.assert_allclose(by_index(results, "score"), model.predict_rows(data), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(by_index(results, "logit"), model.predict_rows(data, logits=True), rtol=1e-5, atol=1e-6)


def test_documents_come_in_the_order_of_their_ranks(service):
    asked = runs.queries(3, seed=6)
    for query, result in zip(asked, rank(service, {"queries": asked}), strict=True):
        assert result["query_id"] == query["query_id"]
        found = result["documents"]
        assert [d["rank"] for d in found] == list(range(1, len(query["documents"]) + 1))
        assert [d["logit"] for d in found] == sorted((d["logit"] for d in found), reverse=True)
        assert all(query["documents"][d["index"]]["id"] == d["id"] for d in found)


def test_equal_documents_keep_their_order(service):
    document = runs.queries(1, seed=7)[0]["documents"][0]
    twins = [{**document, "id": i} for i in range(5)]
    assert [d["id"] for d in rank(service, {"documents": twins})[0]["documents"]] == [0, 1, 2, 3, 4]


def test_one_query_needs_no_list_and_top_cuts_the_answer(service):
    query = runs.queries(1, seed=8)[0]
    (whole,) = rank(service, {"queries": [query]})
    (cut,) = rank(service, {**query, "top": 2})
    assert cut["documents"] == whole["documents"][:2]
    (plain,) = rank(service, {"documents": [{}]})
    assert (plain["query_id"], plain["documents"][0]["id"]) == (None, None)


def test_scores_do_not_depend_on_what_a_request_is_joined_with(service):
    asked = runs.queries(4, seed=9)
    alone = [rank(service, {"queries": [query]})[0] for query in asked]
    for one, other in zip(alone, rank(service, {"queries": asked}), strict=True):
        np.testing.assert_allclose(by_index([one], "logit"), by_index([other], "logit"), rtol=1e-6, atol=1e-6)


def test_a_column_of_documents_in_the_query_counts_for_those_that_lack_it(service):
    query = runs.queries(1, seed=10)[0]
    for document in query["documents"]:
        document["brand"] = "b1"
    shared = {**query, "query": {**query["query"], "brand": "b1"}}
    shared["documents"] = [{k: v for k, v in d.items() if k != "brand"} for d in query["documents"]]
    assert rank(service, {"queries": [query]}) == rank(service, {"queries": [shared]})


def test_a_missing_cell_is_a_null(service):
    query = runs.queries(1, seed=11)[0]
    nulls = {**query, "documents": [{k: d.get(k) for k in d | {}} for d in query["documents"]]}
    absent = {**query, "documents": [{k: v for k, v in d.items() if v is not None} for d in query["documents"]]}
    assert rank(service, {"queries": [nulls]}) == rank(service, {"queries": [absent]})


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"price": "cheap"}, "queries[0].documents[1], column 'price': 'cheap' is not a number"),
        ({"price": [1]}, "queries[0].documents[1].price: must be a finite number of float32, a text"),
        ({"price": 1e39}, "queries[0].documents[1].price: must be a finite number"),
        ({"image": [1.0]}, "queries[0].documents[1], column 'image': a vector of 1 numbers; the model reads 3"),
        ({"image": ["a"]}, "queries[0].documents[1].image: must be a list of finite numbers"),
        ({"published": "soon"}, "queries[0].documents[1], column 'published': 'soon' is neither a number nor a date"),
        ({"tags": "red"}, "queries[0].documents[1].tags: must be a list of texts or numbers, or null"),
        ({"brand": {"name": "b"}}, "queries[0].documents[1].brand: must be a text, a finite number, true, false"),
        ({"prise": 1}, "queries[0].documents[1].prise: there is no such name. Did you mean 'price'?"),
        ({"country": "x"}, "queries[0].documents[1].country: there is no such name. It belongs to the query"),
        ({"id": 2.5}, "queries[0].documents[1].id: must be a text or a whole number"),
        ({"id": "d0"}, "queries[0].documents: the id 'd0' occurs twice."),
    ],
)
def test_a_wrong_document_is_named_with_its_column(service, document, message):
    assert message in refused(service, {"queries": [{"documents": [{"id": "d0"}, document]}]})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body is not JSON"),
        (b"{", "the body is not JSON"),
        (b"\xff", "the body is not JSON"),
        (b"[1]", "the body: must be an object"),
        (b"{}", "documents: is missing"),
        (b'{"queries": []}', "queries: must have at least 1 item"),
        (b'{"queries": [{"documents": []}]}', "queries[0].documents: must have at least 1 item"),
        (b'{"documents": [{"price": NaN}]}', "documents[0].price: must be a finite number"),
        (b'{"documents": [{"price": -Infinity}]}', "documents[0].price: must be a finite number"),
        (b'{"documents": [{"price": 1e999}]}', "documents[0].price: must be a finite number"),
        (b'{"documents": [{"price": 1' + b"0" * 4_000 + b"}]}", "documents[0].price: must be a finite number"),
        (b'{"documents": [{"price": 1' + b"0" * 5_000 + b"}]}", "the body is not JSON: number out of range"),
        (b'{"documents": [{"id": 1' + b"0" * 30 + b"}]}", "documents[0].id: must be a text or a whole number"),
        (b'{"documents": [{"price": 1, "price": 2}]}', "the name 'price' occurs twice"),
        (b'{"documents": [{"title": "\\ud800"}]}', "the body is not JSON"),
        (b'{"documents": [{"title": "\xed\xa0\x80"}]}', "the body is not JSON"),
        (b'{"documents": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", "10001 levels of lists and objects; at most 16"),
        (b'{"documents": [{}], "top": 0}', "top: must be greater than or equal to 1"),
        (b'{"documents": [{}], "tpo": 1}', "tpo: there is no such name. Did you mean 'top'?"),
        (b'{"document": [{}]}', "document: there is no such name. Did you mean 'documents'?"),
        (b'{"queries": [{"documents": [{}], "query": {"land": 1}}]}', "queries[0].query.land: there is no such name."),
        (b'{"documents": [' + b"{}," * 20 + b"{}]}", "documents: must have at most 20 items"),
        (b'{"queries": [' + b'{"documents": [{}]},' * 4 + b"{}]}", "queries: must have at most 4 items"),
    ],
)
def test_a_hostile_body_gets_one_line(service, body, message):
    assert message in refused(service, body)


def test_a_document_whose_score_is_not_finite_is_named(service, monkeypatch):
    scores = Scores(np.array([1.0, np.nan]), np.array([0.5, 0.5]))
    monkeypatch.setattr(service.batcher, "function", lambda queries: [scores])
    message = "queries[0].documents[1]: the model gives no finite score for it."
    assert refused(service, {"documents": [{}, {}]}) == message


def test_the_example_of_a_run_can_be_answered_and_fills_every_column(service):
    service.warm_up()
    (query,) = service.operations["rank"].example["queries"]
    filled = {*query["query"], *query["documents"][0]} - {"id"}
    assert filled == set(service.columns)
    assert {c["name"] for c in service.describe()["columns"] if c["scope"] == "query"} == set(runs.OF_QUERY)


def test_a_run_whose_scores_are_not_finite_is_refused_by_warm_up(service, monkeypatch):
    ranking = service.operations["rank"].start.__self__
    nothing = np.full(3, np.nan)
    monkeypatch.setattr(ranking, "call", lambda queries: [Scores(nothing, nothing) for _ in queries])
    with pytest.raises(UserError, match="cannot answer its example of rank"):
        service.warm_up()


def explain(service, request):
    return service.start("explain", json.dumps(request).encode()).result(60)


def test_contributions_sum_to_the_difference_of_the_logits(service):
    query = runs.queries(1, seed=12)[0]
    (ranked,) = rank(service, {"queries": [query]})
    answer = explain(service, query)
    first, second = answer["documents"]
    assert [d["id"] for d in (first, second)] == [d["id"] for d in ranked["documents"][:2]]
    assert [d["rank"] for d in (first, second)] == [1, 2]
    difference = first["logit"] - second["logit"]
    added = sum(one["contribution"] for one in first["contributions"])
    assert added - sum(one["contribution"] for one in second["contributions"]) == pytest.approx(difference, abs=1e-5)
    sizes = [abs(one["contribution"]) for one in first["contributions"]]
    assert sizes == sorted(sizes, reverse=True)
    assert answer["query_id"] == query["query_id"]


def test_an_explanation_is_that_of_the_experiment(run, service):
    query = runs.queries(1, seed=13)[0]
    answer = explain(service, {**query, "compare": [2, 0]})
    data = runs.columns([query])
    expected = explain_rows(load_model(run), memory_table(data), [2, 0], method=answer["method"])
    for document, values, logit in zip(answer["documents"], expected.contributions, expected.logits, strict=True):
        found = {one["feature"]: one["contribution"] for one in document["contributions"]}
        np.testing.assert_allclose([found[name] for name in expected.features], values, rtol=1e-4, atol=1e-5)
        assert document["logit"] == pytest.approx(logit, abs=1e-5)
    assert [d["index"] for d in answer["documents"]] == [2, 0]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"compare": [1, 1]}, "`documents` must be at least two different ones. Received: [1, 1]."),
        ({"compare": [0, 9]}, "`documents` must be from 0 to 1. Received: 9."),
        ({"compare": [0]}, "compare: must have at least 2 items"),
        ({"documents": [{}]}, "documents: must have at least 2 items"),
        ({"queries": []}, "queries: there is no such name."),
    ],
)
def test_a_comparison_that_cannot_be_made_gets_one_line(service, more, message):
    with pytest.raises(UserError) as error:
        explain(service, {"documents": [{"price": 1.0}, {"price": 2.0}], **more})
    assert message in str(error.value)


@pytest.fixture(scope="module")
def pair_run(tmp_path_factory, eager):
    with eager():
        columns = {"label": "same"}
        return runs.text_run(tmp_path_factory.mktemp("pairs"), "binary_cross_entropy", "cross_encoder", columns)


def test_a_text_cross_encoder_ranks_pairs_by_the_columns_of_its_config(pair_run):
    service = load_service(pair_run)
    assert (service.kind, list(service.columns)) == ("pairs", ["a", "b"])
    documents = ["wing flow", "heat", "shock wave body layer", ""]
    results = rank(service, {"query": {"a": "wing body"}, "documents": [{"b": text} for text in documents]})
    expected = load_model(pair_run).score_pairs(["wing body"] * 4, documents)
    np.testing.assert_allclose(by_index(results, "logit"), expected, rtol=1e-5, atol=1e-6)
    service.close()


class OtherTokenizer(WordTokenizer):
    """A tokenizer that no preprocessing.json can hold, as that of a preset is."""


def test_the_tokenizer_of_a_preset_reads_pairs_itself(pair_run):
    model = load_model(pair_run)
    request = [
        {"query": {"a": "wing body"}, "documents": [{"b": "heat"}, {"b": None}, {}, {"b": 5}]},
        {"query": {}, "documents": [{"b": "shock wave"}]},
    ]
    expected = Encoder(model)(request)
    words = model.pair.tokenizer.tokenizer
    model.pair.tokenizer.tokenizer = OtherTokenizer(words.vocabulary, words.max_length)
    for one, other in zip(Encoder(model)(request), expected, strict=True):
        (ids,), (expected_ids,) = one.arrays.values(), other.arrays.values()
        assert one.size == other.size
        np.testing.assert_array_equal(ids, expected_ids[:, : ids.shape[1]])
        assert not expected_ids[:, ids.shape[1] :].any()
