"""Evaluation at the end of epochs, as later callbacks see it."""

import keras
import numpy as np
import pytest

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.evaluation.callback import EvaluationCallback


class CountingEvaluator:
    """Records the models that it evaluates, and returns their number."""

    def __init__(self):
        self.models = []

    def evaluate(self, model):
        self.models.append(model)
        return {"ndcg_10": float(len(self.models)), "mrr_10": 0.5}


class LogRecorder(keras.callbacks.Callback):
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


def test_later_callbacks_see_the_metrics_of_evaluated_epochs():
    evaluator, recorder = CountingEvaluator(), LogRecorder()
    model, history = fit(EvaluationCallback({"dev": evaluator}, every=2), recorder)
    values = [{}, 1.0, {}, 2.0, 3.0]  # the last epoch is always evaluated
    assert recorder.logs == [v and {"val_dev_ndcg_10": v, "val_dev_mrr_10": 0.5} for v in values]
    assert history["val_dev_ndcg_10"] == [1, 2, 3]
    assert all(evaluated is model for evaluated in evaluator.models)


def test_early_stopping_can_follow_one_of_several_evaluators():
    stop = keras.callbacks.EarlyStopping("val_b_mrr_10", mode="max", patience=1)
    _, history = fit(EvaluationCallback({"a": CountingEvaluator(), "b": CountingEvaluator()}), stop)
    assert history["val_a_ndcg_10"] == [1, 2]  # mrr_10 does not grow
    assert history["val_b_ndcg_10"] == [1, 2]


def test_epoch_without_a_finite_loss_is_not_evaluated():
    evaluator = CountingEvaluator()
    fit(EvaluationCallback({"dev": evaluator}), epochs=1, y=np.nan)
    assert evaluator.models == []


@pytest.mark.parametrize("every", [0, None, 1.5])
def test_invalid_every_raises(every):
    with pytest.raises(UserError, match="`every` must be"):
        EvaluationCallback({}, every=every)
