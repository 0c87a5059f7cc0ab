"""The section `training.distribution`."""

import pytest

from ml4ir_losses.config.distribution import Mirrored, OneDevice, ignored

NOTE = "training.distribution: tune does not read it"


@pytest.mark.parametrize(
    ("distribution", "expected"),
    [
        (OneDevice(), ""),
        (
            Mirrored(strategy="mirrored"),
            "training.distribution: tune does not read it, and trains each config on one device",
        ),
    ],
)
def test_commands_that_train_on_one_device_say_so(distribution, expected):
    assert ignored(distribution, "tune") == expected
