"""Evaluation in `fit`: what later callbacks see."""

import keras
import numpy as np
import pytest

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.evaluation.callback import EvaluationCallback


class Counting:
    """Gives how often it was asked, by the model it was asked for."""

    def __init__(self):
        self.models = []

    def evaluate(self, model):
        self.models.append(model)
        return {"ndcg_10": float(len(self.models)), "mrr_10": 0.5}


class Seen(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.logs = []

    def on_epoch_end(self, epoch, logs=None):
        self.logs.append({name: value for name, value in logs.items() if name.startswith("val_")})


def fit(evaluation, *others, epochs=5, y=0.0):
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    history = model.fit(np.ones((2, 1)), np.full((2, 1), y), epochs=epochs, verbose=0, callbacks=[evaluation, *others])
    return model, history.history


def test_later_callbacks_see_the_values_of_evaluated_epochs():
    evaluator, seen = Counting(), Seen()
    model, history = fit(EvaluationCallback({"dev": evaluator}, every=2), seen)
    values = [{}, 1.0, {}, 2.0, 3.0]  # the last epoch is evaluated, too
    assert seen.logs == [v and {"val_dev_ndcg_10": v, "val_dev_mrr_10": 0.5} for v in values]
    assert history["val_dev_ndcg_10"] == [1, 2, 3]
    assert all(seen_model is model for seen_model in evaluator.models)


def test_several_evaluators_and_early_stopping():
    stop = keras.callbacks.EarlyStopping("val_b_mrr_10", mode="max", patience=1)
    _, history = fit(EvaluationCallback({"a": Counting(), "b": Counting()}), stop)
    assert history["val_a_ndcg_10"] == [1, 2]  # mrr_10 does not grow
    assert history["val_b_ndcg_10"] == [1, 2]


def test_epoch_without_a_finite_loss_is_not_evaluated():
    evaluator = Counting()
    fit(EvaluationCallback({"dev": evaluator}), epochs=1, y=np.nan)
    assert evaluator.models == []


@pytest.mark.parametrize("every", [0, None, 1.5])
def test_wrong_parameters_are_refused(every):
    with pytest.raises(UserError, match="`every` must be"):
        EvaluationCallback({}, every=every)
