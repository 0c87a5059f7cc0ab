"""Files that are written from the registries are up to date."""

import pytest

from tools import generate


@pytest.mark.parametrize("file", generate.FILES)
def test_generated_file_is_up_to_date(file):
    assert file not in generate.outdated(), f"{file} is out of date, run: {generate.COMMAND}"


def new_loss(labels, scores, mask, *, item_weight=None):
    """A pure function that the package does not have."""


def test_a_new_loss_reaches_every_generated_file(monkeypatch):
    from ml4ir_losses.core.registry import LOSSES, Entry
    from ml4ir_losses.losses.listwise.softmax import SoftmaxCrossEntropy

    class NewLoss(SoftmaxCrossEntropy):
        """A new loss.

        Source: nobody.
        """

        function = staticmethod(new_loss)

    new = Entry("new_loss", NewLoss, loss_type="listwise")
    own = LOSSES.own()
    monkeypatch.setattr(type(LOSSES), "own", lambda self: [*own, new] if self is LOSSES else [])
    outdated = generate.outdated()
    assert set(outdated) == set(generate.FILES) - {"docs/examples-of-the-peers.md"}
    assert "NewLoss as NewLoss" in outdated["ml4ir_losses/__init__.pyi"]
    assert "new_loss as new_loss" in outdated["ml4ir_losses/functional.pyi"]
    assert 'NEW_LOSS = "new_loss"' in outdated["ml4ir_losses/keys.py"]
    assert "`new_loss`" in outdated["README.md"]
    assert "### `new_loss`" in outdated["docs/losses.md"]
