"""Teacher values from NumPy files, and refused files."""

import numpy as np
import pytest

from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.texts.teacher import teacher_values

VALUES = np.arange(12.0).reshape(3, 2, 2)


def test_file_gives_its_array(tmp_path):
    np.save(tmp_path / "t.npy", VALUES)
    np.testing.assert_array_equal(teacher_values(str(tmp_path / "t.npy"), 3), VALUES)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (VALUES[:2], "has 2 rows, the texts have 3"),
        (np.ones(3), r"needs an array of numbers \[rows, ...\]. Received: float64 \[3\]"),
        (np.array([["a"]] * 3), "needs an array of numbers"),
        (np.where(VALUES == 5, np.nan, VALUES), "row 1: holds a number that is not finite"),
        (np.array([{}] * 3), r"is not a \.npy file of numbers"),
    ],
    ids=["rows", "one axis", "text", "nan", "objects"],
)
def test_unusable_file_is_refused(values, message, tmp_path):
    np.save(tmp_path / "t.npy", values)
    with pytest.raises(DataError, match=message):
        teacher_values(str(tmp_path / "t.npy"), 3)


def test_file_that_is_not_numpy_is_refused(tmp_path):
    (tmp_path / "t.npy").write_text("1,2,3")
    with pytest.raises(DataError, match=r"is not a \.npy file"):
        teacher_values(str(tmp_path / "t.npy"), 3)
    with pytest.raises(DataError, match="there is no such file"):
        teacher_values(str(tmp_path / "other.npy"), 3)
