"""The rows of the benchmarks: losses with parameters that exist."""

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
