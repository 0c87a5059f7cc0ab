"""Ranking and embedding losses for Keras 3, chosen by key in a YAML config.

>>> import numpy as np
>>> from ml4ir_losses import get_loss
>>> loss = get_loss("softmax_cross_entropy").get_loss_fn()
>>> round(float(loss(np.array([[1.0, 0.0]]), np.array([[0.0, 0.0]]))), 4)
0.6931

The public names are listed in `__init__.pyi` and imported when they are first used.
"""

import sys

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

if "keras" in sys.modules:  # so that `keras.models.load_model` knows our classes
    __import__(f"{__name__}.model.loading")
