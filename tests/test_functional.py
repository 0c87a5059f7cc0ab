"""The module of pure functions: its names follow from the registries."""

import pytest

from ml4ir_losses import functional, get_loss


def test_names_follow_from_the_registries():
    assert {"softmax_cross_entropy", "approx_ndcg", "mean_average_precision", "approx"} <= set(functional.__all__)
    assert functional.list_mle is type(get_loss("list_mle")).function
    assert dir(functional) == sorted(functional.__all__)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'list_mel'"):
        functional.list_mel  # noqa: B018
