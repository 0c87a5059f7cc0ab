"""The rows of the benchmarks: losses with parameters that exist."""

import json

import numpy as np
import pytest

from markdown_blocks import ROOT
from ml4ir_losses import get_loss


@pytest.fixture
def cases(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import cases

    return cases


def test_rows_are_losses_with_their_parameters(cases):
    for case in cases.CASES:
        key, params = case.spec("ours")
        assert get_loss(key, **params).get_config()["key"] == key


def test_every_row_has_a_shape_and_every_library_a_file(cases):
    assert {case.kind for case in cases.CASES} == set(cases.SHAPES)
    for library in {name for case in cases.CASES for name in case.specs}:
        assert (ROOT / "benchmarks" / "peers" / f"{library}.py").exists()


def test_documents_come_first_and_padding_has_label_minus_one(cases):
    given = cases.arrays(cases.BY_NAME["pairwise_logistic"], "ragged")
    assert (given.mask == (given.labels >= 0)).all()
    assert (given.mask[:, :-1] >= given.mask[:, 1:]).all()
    assert given.mask.sum(axis=1).max() == given.mask.shape[1]


def test_every_format_that_is_timed_is_written_and_read(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import reading

    rows = reading.make_rows(7, 4)
    for name, format in reading.FORMATS.items():
        format.write(tmp_path / f"rows{format.ending}", rows)
        assert format.read(tmp_path / f"rows{format.ending}") == 7, name


def test_requests_to_a_server_hold_the_rows_that_others_are_given(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import serving

    inputs = serving.numbers(3, 5)
    serving.write_requests(tmp_path, inputs, 5)
    lists = np.load(tmp_path / "lists.npy")
    bodies = [json.loads(line) for line in (tmp_path / "requests.jsonl").read_text().splitlines()]
    assert lists.shape == (len(bodies), 5, 3)
    rows = [[[document[f"f{i}"] for i in range(3)] for document in body["documents"]] for body in bodies]
    np.testing.assert_array_equal(np.array(rows, "float32"), lists)
    made = serving.shop(0, 5)
    assert made.query_columns == ["query_length", "query_category", "user_segment", "query_text"]
    assert {len(column) for column in made.requests.values()} == {serving.REQUESTS * 5}
