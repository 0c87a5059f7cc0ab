"""Fixtures of exports."""

import pytest


@pytest.fixture(scope="module")
def columns_alone():
    """SavedModels have signatures of columns: those of messages, with tests of their own, take most of the time."""
    from ml4ir_losses.export.formats.saved_model import SavedModel

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SavedModel, "serving_default", None)
        yield
