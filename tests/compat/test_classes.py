"""The names of `compat` are classes: paths of the peers, isinstance, configs, saved models, subclasses, copies."""

import ast
import copy
import importlib
import inspect
import json
import pickle
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest

from compat.test_compat import BY_NAME, LABELS, SCORES, made
from losses.numeric import values
from ml4ir_losses.compat import ml4ir, tf_ranking
from ml4ir_losses.compat.sentence_transformers import cross_encoder, losses, sparse_encoder
from ml4ir_losses.core.errors import UserError

tfr = tf_ranking

PATHS = {
    "tf_ranking.keras.losses": (
        *("SoftmaxLoss", "ApproxNDCGLoss", "ClickEMLoss", "NDCGLambdaWeight", "YetiDCGLambdaWeight"),
        *("get", "RankingLossKey"),
    ),
    "tf_ranking.keras.metrics": ("NDCGMetric", "OPAMetric", "get", "RankingMetricKey", "default_keras_metrics"),
    "tf_ranking.keras.utils": ("identity", "pow_minus_1", "symmetric_log1p"),
    "tf_ranking.utils": ("identity", "pow_minus_1", "symmetric_log1p"),
    "tf_ranking.losses": ("RankingLossKey", "make_loss_fn", "make_loss_metric_fn", "create_ndcg_lambda_weight"),
    "tf_ranking.losses_impl": ("CircleLoss", "MultiClassLoss"),
    "sentence_transformers.losses": ("CoSENTLoss", "MSELoss", "SparseMSELoss", "TripletDistanceMetric"),
    "sentence_transformers.sparse_encoder.losses": ("SpladeLoss", "CachedSpladeLoss", "CSRLoss", "SparseMSELoss"),
    "sentence_transformers.cross_encoder": ("LambdaLoss", "MSELoss", "NDCGLoss2PPScheme"),
    "sentence_transformers.cross_encoder.losses": ("LambdaLoss", "MSELoss", "PListMLELambdaWeight"),
}


@pytest.mark.parametrize("path", PATHS)
def test_paths_of_the_peers_can_be_imported(path):
    module = importlib.import_module(f"ml4ir_losses.compat.{path}")
    for name in PATHS[path]:
        assert getattr(module, name)
        assert name in getattr(module, "__all__", PATHS[path])


def test_every_path_leads_to_the_same_class():
    assert tfr.keras.losses.SoftmaxLoss is tfr.SoftmaxLoss
    assert tfr.losses_impl.CircleLoss is tfr.CircleLoss
    assert tfr.losses.RankingLossKey is tfr.keras.losses.RankingLossKey
    assert cross_encoder.losses.MSELoss is cross_encoder.MSELoss is not losses.MSELoss
    assert sparse_encoder.losses.SparseTripletLoss is losses.SparseTripletLoss


def test_isinstance_knows_the_peers_classes():
    assert isinstance(tfr.keras.losses.get("softmax_loss"), tfr.keras.losses.SoftmaxLoss)
    assert not isinstance(tfr.keras.losses.get("softmax_loss"), tfr.keras.losses.ApproxNDCGLoss)
    assert isinstance(tfr.keras.metrics.get("ndcg", topn=3), tfr.keras.metrics.NDCGMetric)
    assert isinstance(losses.SparseTripletLoss(), losses.TripletLoss)
    assert isinstance(ml4ir.get_loss("rank_one_listnet"), ml4ir.RankOneListNet)
    assert isinstance(tfr.create_p_list_mle_lambda_weight(3), tfr.keras.losses.ListMLELambdaWeight)


CHANGED = [
    tfr.PairwiseLogisticLoss("sum", "pairs", tfr.NDCGLambdaWeight(3, smooth_fraction=0.5), 0.5),
    tfr.ListMLELoss(lambda_weight=tfr.create_p_list_mle_lambda_weight(4)),
    tfr.YetiLogisticLoss(seed=3),
    tfr.MultiClassLoss(from_logits=True, label_smoothing=0.1),
    tfr.NDCGMetric("quality", 3, rank_discount_fn=tfr.inverse),
    cross_encoder.BinaryCrossEntropyLoss(object(), reduction="sum", pos_weight=2.0),
    cross_encoder.LambdaLoss(object(), cross_encoder.NDCGLoss2PPScheme(mu=2.0), k=5),
    losses.MatryoshkaLoss(None, losses.CoSENTLoss(scale=2.0), [8, 4]),
    losses.ContrastiveLoss(None, losses.SiameseDistanceMetric.MANHATTAN),
    tfr.NDCGLambdaWeight(3, tfr.identity),
    tfr.PrecisionLambdaWeight(2),
    ml4ir.SigmoidCrossEntropy(min_label=-1.0),
]


def same(a, b):
    return type(a) is type(b) and a.get_config() == b.get_config()


@BY_NAME
def test_config_of_the_defaults_round_trips(peer):
    original = made(peer)
    assert same(peer.from_config(original.get_config()), original)


def class_name(obj):
    """An id that is the same in every process; a repr may hold an address."""
    return type(obj).__name__


@pytest.mark.parametrize("obj", CHANGED, ids=class_name)
def test_config_round_trips(obj):
    config = json.loads(json.dumps(obj.get_config()))
    assert same(type(obj).from_config(config), obj)
    assert obj.get_config() != made(type(obj)).get_config()


@pytest.mark.parametrize(
    "obj",
    [x for x in CHANGED if isinstance(x, (keras.losses.Loss, keras.metrics.Metric))],
    ids=class_name,
)
def test_keras_serializes_losses_and_metrics(obj):
    kind = keras.losses if isinstance(obj, keras.losses.Loss) else keras.metrics
    config = json.loads(json.dumps(kind.serialize(obj)))
    assert same(kind.deserialize(config), obj)


def test_config_holds_what_has_an_effect():
    assert cross_encoder.RankNetLoss(object(), eps=1e-3, mini_batch_size=4).get_config() == {
        **{"k": None, "sigma": 1.0, "reduction_log": "binary", "activation_fn": None},
        **{"reduction": "sum_over_batch_size", "name": None, "normalization": "batch", "top_k_pairs": "either"},
        "min_label": 0.0,
    }
    assert tfr.ApproxNDCGLoss().get_config() == {"reduction": "sum_over_batch_size", "name": None, "temperature": 0.1}


@pytest.mark.parametrize(
    ("obj", "text"),
    [
        (tfr.SoftmaxLoss(), "SoftmaxLoss()"),
        (tfr.SoftmaxLoss(temperature=0.5), "SoftmaxLoss(temperature=0.5)"),
        (tfr.SoftmaxLoss.from_config(tfr.SoftmaxLoss(name="x").get_config()), "SoftmaxLoss(name='x')"),
        (tfr.SoftmaxLoss(lambda_weight=tfr.NDCGLambdaWeight(3)), "SoftmaxLoss(lambda_weight=NDCGLambdaWeight(topn=3))"),
        (tfr.NDCGMetric(topn=10), "NDCGMetric(topn=10)"),
        (tfr.ListMLELambdaWeight("inverse"), "ListMLELambdaWeight(rank_discount_fn='inverse')"),
        (cross_encoder.MSELoss(object(), keras.ops.tanh), "MSELoss(activation_fn='tanh')"),
        (losses.TripletLoss(None, "COSINE", 0.1), "TripletLoss(distance_metric='cosine', triplet_margin=0.1)"),
        (ml4ir.RankOneListNet("listwise", "x"), "RankOneListNet()"),
    ],
)
def test_repr_shows_what_is_not_the_default(obj, text):
    assert repr(obj) == text


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
@pytest.mark.parametrize("obj", CHANGED, ids=class_name)
def test_copy_and_pickle_keep_the_config(obj, copied):
    again = copied(obj)
    assert again is not obj
    assert same(again, obj)


@BY_NAME
def test_editors_see_a_class_statement_with_its_signature(peer):
    assert inspect.getsource(peer).startswith(f"class {peer.__name__}(")
    (declared,) = ast.parse(textwrap.dedent(inspect.getsource(peer.__init__))).body
    names = [argument.arg for argument in (*declared.args.args, *declared.args.kwonlyargs)]
    assert names == ["self", *inspect.signature(peer).parameters]
    assert all(argument.annotation for argument in (*declared.args.args[1:], *declared.args.kwonlyargs))


def test_signature_and_docstring():
    signature = "(topn: 'int | None' = None, positive_fn: 'PositiveSpec | None' = None)"
    assert str(inspect.signature(tfr.PrecisionLambdaWeight)) == signature
    text = inspect.getdoc(tfr.UniqueSoftmaxLoss)
    assert text.startswith("TF-Ranking's UniqueSoftmaxLoss. Our key is `unique_softmax`.")
    assert "    lambda_weight: must be None; TF-Ranking takes a lambda weight and ignores it.\n" in text
    assert "Not in the peer: normalization='batch', min_label=0.0." in inspect.getdoc(ml4ir.SigmoidCrossEntropy)


@keras.saving.register_keras_serializable("test_classes")
class ScaledSoftmax(tfr.keras.losses.SoftmaxLoss):
    """A user's subclass with a parameter of its own, which changes the scores."""

    def __init__(self, scale=2.0, name="scaled", **kwargs):
        super().__init__(name=name, **kwargs)
        self.scale = scale

    def __call__(self, y_true, y_pred, sample_weight=None):
        return super().__call__(y_true, y_pred * self.scale, sample_weight)

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}


class TestSubclasses:
    def test_override_of_call_changes_the_value(self):
        expected = values(tfr.SoftmaxLoss(temperature=0.25)(LABELS, SCORES))
        assert values(ScaledSoftmax(4.0)(LABELS, SCORES)) == pytest.approx(expected)

    def test_own_parameter_is_in_config_and_copies(self):
        loss = ScaledSoftmax(3.0, temperature=0.5)
        assert loss.get_config()["scale"] == 3.0
        assert same(ScaledSoftmax.from_config(loss.get_config()), loss)
        assert same(keras.losses.deserialize(keras.losses.serialize(loss)), loss)
        assert same(copy.deepcopy(loss), loss)
        assert repr(loss) == "ScaledSoftmax(name='scaled', temperature=0.5)"

    def test_subclass_has_its_own_signature(self):
        assert list(inspect.signature(ScaledSoftmax).parameters) == ["scale", "name", "kwargs"]
        assert inspect.getdoc(ScaledSoftmax).startswith("A user's subclass")

    def test_unknown_parameter_is_named_in_the_error(self):
        with pytest.raises(UserError, match=r"SoftmaxLoss has no parameter 'temprature'. Did you mean 'temperature'\?"):
            ScaledSoftmax(temprature=1.0)

    def test_metric_may_override_result(self):
        class Percent(tfr.keras.metrics.MRRMetric):
            def result(self):
                return 100 * super().result()

        metric = Percent(topn=1)
        metric.update_state(LABELS, SCORES)
        assert values(metric.result()) == 0.0
        metric.update_state(LABELS, -SCORES)
        assert Percent.from_config(metric.get_config()).name == metric.name == "percent"

    def test_ml4ir_loss_may_override_per_query(self):
        class Halved(ml4ir.RankOneListNet):
            def per_query(self, *args, **kwargs):
                return 0.5 * super().per_query(*args, **kwargs)

        labels = np.clip(LABELS, 0, 1)
        whole = values(ml4ir.RankOneListNet().get_loss_fn()(labels, SCORES))
        assert values(Halved("listwise", "x").get_loss_fn()(labels, SCORES)) == pytest.approx(0.5 * whole)


class TestMetricKeys:
    def test_every_key_has_its_metric_or_is_refused(self):
        for name, key in vars(tfr.keras.metrics.RankingMetricKey).items():
            if not name.isupper():
                continue
            if key in ("precision_ia", "alpha_dcg"):
                with pytest.raises(UserError, match="Unknown TF-Ranking metric"):
                    tfr.keras.metrics.get(key)
            else:
                assert tfr.keras.metrics.get(key, "x").key == key

    def test_positional_order(self):
        metric = tfr.keras.metrics.get("mrr", "first", "float32", 1)
        assert (metric.name, metric.dtype, metric.params["topn"]) == ("first", "float32", 1)
        assert tfr.keras.metrics.get("mrr", topn=0).params["topn"] is None

    def test_default_metrics(self):
        names = [metric.name for metric in tfr.keras.metrics.default_keras_metrics()]
        assert names[:4] == [f"metric/ndcg_{n}" for n in (1, 3, 5, 10)]
        assert names[4:6] == ["metric/arp", "metric/ordered_pair_accuracy"]
        assert len(names) == 11


LOAD = """
import json, sys, keras, numpy, ml4ir_losses
assert "ml4ir_losses.compat" in sys.modules  # which `ml4ir_losses` imports, not this code
model = keras.models.load_model(sys.argv[1])
labels, scores = map(numpy.array, json.loads(sys.argv[2]))
print(model.loss, json.dumps(model.evaluate(scores, labels, verbose=0, return_dict=True)), sep="|")
"""


def test_a_saved_model_loads_without_importing_compat(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
    model.compile("sgd", loss=tfr.ApproxNDCGLoss(temperature=0.5), metrics=[tfr.NDCGMetric("ndcg", topn=3)])
    model.fit(SCORES, LABELS, verbose=0)
    model.save(tmp_path / "model.keras")
    command = [
        sys.executable,
        "-c",
        LOAD,
        str(tmp_path / "model.keras"),
        json.dumps([LABELS.tolist(), SCORES.tolist()]),
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    loss, _, measured = result.stdout.strip().partition("|")
    assert loss == "ApproxNDCGLoss(temperature=0.5)"
    assert json.loads(measured) == pytest.approx(model.evaluate(SCORES, LABELS, verbose=0, return_dict=True))
    assert "ndcg" in json.loads(measured)
